#include "src/provision/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <utility>

#include "io/ring.h"
#include "io/unique_fd.h"

namespace platter::provision {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kOutputMax = 16 * 1024;
constexpr int kStep_ms = 100;
constexpr std::array kFolders = {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"};

// Past the three standard ones and the target's: so no step of the child's set-up hits another.
UniqueFd high_copy(int fd) { return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 10)); }

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> array;
  for (std::string& word : words) array.push_back(word.data());
  array.push_back(nullptr);
  return array;
}

// A child of this process. Killed and reaped at the latest when this goes.
class Child {
 public:
  Child(pid_t pid, UniqueFd output) noexcept : pid_(pid), output_(std::move(output)) {}
  ~Child() {
    if (status_) return;
    kill();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void kill() const noexcept { ::kill(-pid_, SIGKILL); }
  /// Takes output for a while. True: the child has ended.
  Result<bool> step();
  const std::string& text() const noexcept { return text_; }
  int status() const noexcept { return status_.value_or(0); }

 private:
  void take_output();

  pid_t pid_;
  UniqueFd output_;
  std::string text_;
  std::optional<int> status_;
};

void Child::take_output() {
  std::array<char, 4096> chunk;
  const ssize_t count = ::read(output_.get(), chunk.data(), chunk.size());
  if (count > 0) {
    // What is too much is read all the same: a full pipe would stop the program.
    const std::size_t fits = std::min(static_cast<std::size_t>(count), kOutputMax - text_.size());
    text_.append(chunk.data(), fits);
  }
  if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) output_ = UniqueFd();
}

Result<bool> Child::step() {
  const Clock::time_point until = Clock::now() + std::chrono::milliseconds(kStep_ms);
  do {
    pollfd wanted{.fd = output_.get(), .events = POLLIN, .revents = 0};
    if (::poll(&wanted, 1, output_ ? kStep_ms : 5) > 0) take_output();
    int status = 0;
    const pid_t reaped = output_ ? 0 : ::waitpid(pid_, &status, WNOHANG);
    if (reaped < 0 && errno != EINTR) {
      status_ = 0;  // somebody else has reaped it, and knows how it ended
      return fail_errno(errno, "wait for", "a child");
    }
    if (reaped == pid_) {
      status_ = status;
      return true;
    }
  } while (Clock::now() < until);
  return false;
}

class SpawnSetUp {
 public:
  SpawnSetUp() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  ~SpawnSetUp() {
    ::posix_spawnattr_destroy(&attributes);
    ::posix_spawn_file_actions_destroy(&actions);
  }
  SpawnSetUp(const SpawnSetUp&) = delete;
  SpawnSetUp& operator=(const SpawnSetUp&) = delete;

  // 0, or what failed: there is no memory for it.
  int prepare(int output_fd, int target_fd);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

int SpawnSetUp::prepare(int output_fd, int target_fd) {
  int error = ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  for (const int fd : {1, 2}) {
    if (error == 0) error = ::posix_spawn_file_actions_adddup2(&actions, output_fd, fd);
  }
  if (error == 0 && target_fd >= 0) {
    error = ::posix_spawn_file_actions_adddup2(&actions, target_fd, 3);
  }
  const int first_closed = target_fd >= 0 ? 4 : 3;
  if (error == 0) error = ::posix_spawn_file_actions_addclosefrom_np(&actions, first_closed);
  sigset_t signals;
  ::sigemptyset(&signals);
  if (error == 0) error = ::posix_spawnattr_setsigmask(&attributes, &signals);
  ::sigfillset(&signals);
  if (error == 0) error = ::posix_spawnattr_setsigdefault(&attributes, &signals);
  constexpr short kFlags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (error == 0) error = ::posix_spawnattr_setflags(&attributes, kFlags);
  return error;
}

Result<std::unique_ptr<Child>> start(const ProgramCall& call) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "pipe", call.path);
  UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  const UniqueFd output = high_copy(write_end.get());
  const UniqueFd target = call.target_fd >= 0 ? high_copy(call.target_fd) : UniqueFd();
  if (!output || (call.target_fd >= 0 && !target)) {
    return fail_errno(errno, "duplicate", call.path);
  }
  SpawnSetUp set_up;
  if (const int error = set_up.prepare(output.get(), target.get()); error != 0) {
    return fail_errno(error, "start", call.path);
  }
  std::vector<std::string> words{call.path};
  words.insert(words.end(), call.arguments.begin(), call.arguments.end());
  std::vector<std::string> environment{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, call.path.c_str(), &set_up.actions, &set_up.attributes,
                                  pointers_to(words).data(), pointers_to(environment).data());
  if (error != 0) return fail_errno(error, "start", call.path);
  return std::make_unique<Child>(pid, std::move(read_end));
}

// The last line that says anything.
std::string last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  const std::size_t begin = text.rfind('\n');
  return std::string(begin == text.npos ? text : text.substr(begin + 1));
}

Result<std::string> outcome_of(const ProgramCall& call, const Child& child) {
  const int status = child.status();
  if (WIFEXITED(status) && std::ranges::count(call.good_exit_codes, WEXITSTATUS(status)) != 0) {
    return child.text();
  }
  const std::string how = WIFEXITED(status)
                              ? "ended with exit code " + std::to_string(WEXITSTATUS(status))
                              : "was killed by signal " + std::to_string(WTERMSIG(status));
  const std::string said = last_line(child.text());
  return fail(ErrorKind::io, "'" + call.path + "' " + how + (said.empty() ? "" : ": " + said));
}

bool is_trustworthy(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_uid == 0 &&
         (status.st_mode & (S_IWGRP | S_IWOTH)) == 0 && ::access(path.c_str(), X_OK) == 0;
}

}  // namespace

Result<std::string> find_program(const std::string& name) {
  if (!name.contains('/')) {
    for (const char* folder : kFolders) {
      if (std::string path = folder + name; is_trustworthy(path)) return path;
    }
  }
  return fail(ErrorKind::unsupported, "'" + name + "' is not installed");
}

Task<std::string> run_program(ProgramCall call, const CancelToken* cancel) {
  co_await look_for_cancel(cancel);
  const std::unique_ptr<Child> child = co_await start(call);
  const Clock::time_point deadline = Clock::now() + call.time_max;
  for (;;) {
    Child& running = *child;
    const Result<bool> ended =
        co_await Ring::current().offload([&running] { return running.step(); });
    if (!ended) co_return fail(ended.error().clone());
    if (*ended) co_return co_await outcome_of(call, *child);
    co_await look_for_cancel(cancel);
    if (Clock::now() >= deadline) {
      co_return fail(ErrorKind::timed_out, "'" + call.path + "' took longer than " +
                                               std::to_string(call.time_max.count()) + " ms");
    }
  }
}

}  // namespace platter::provision
