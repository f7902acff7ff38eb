#include "tests/support/run_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "io/check.h"
#include "io/unique_fd.h"

namespace platter::test {
namespace {

using Clock = std::chrono::steady_clock;

struct Pipe {
  UniqueFd read_end;
  UniqueFd write_end;
};

Pipe make_pipe() {
  std::array<int, 2> ends{};
  PLATTER_CHECK(::pipe2(ends.data(), O_CLOEXEC) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

// A group of its own, so that its children can be killed with it. Not fork(): copying the page tables
// of a process under AddressSanitizer takes longer than most commands.
pid_t start(const Command& command, char* const* argv, char* const* environment,
            const std::array<int, 3>& fds, int& os_error) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  PLATTER_CHECK(::posix_spawn_file_actions_init(&actions) == 0);
  PLATTER_CHECK(::posix_spawnattr_init(&attributes) == 0);
  for (int n = 0; n < 3; ++n) {
    const int fd = fds[static_cast<std::size_t>(n)];
    PLATTER_CHECK(::posix_spawn_file_actions_adddup2(&actions, fd, n) == 0);
  }
  if (!command.folder.empty()) {
    PLATTER_CHECK(::posix_spawn_file_actions_addchdir_np(&actions, command.folder.c_str()) == 0);
  }
  PLATTER_CHECK(::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP) == 0);
  pid_t child = -1;
  os_error = ::posix_spawnp(&child, argv[0], &actions, &attributes, argv, environment);
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  return child;
}

std::vector<std::string> environment_with(const std::vector<std::string>& additions) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view line(*entry);
    const auto replaces = [line](const std::string& addition) {
      return line.starts_with(addition.substr(0, addition.find('=') + 1));
    };
    if (std::ranges::none_of(additions, replaces)) all.emplace_back(line);
  }
  all.insert(all.end(), additions.begin(), additions.end());
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> array;
  for (std::string& string : strings) array.push_back(string.data());
  array.push_back(nullptr);
  return array;
}

// Takes what is there; closes the pipe at its end.
void drain(UniqueFd& fd, std::string& into) {
  std::array<char, 65536> chunk;
  const ssize_t count = ::read(fd.get(), chunk.data(), chunk.size());
  if (count > 0) into.append(chunk.data(), static_cast<std::size_t>(count));
  if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) fd = UniqueFd();
}

// Gives what fits; closes the pipe when all is given or nobody listens.
void feed(UniqueFd& fd, std::string_view& input) {
  const ssize_t count = ::write(fd.get(), input.data(), input.size());
  if (count > 0) input.remove_prefix(static_cast<std::size_t>(count));
  if (input.empty() || (count < 0 && errno != EINTR && errno != EAGAIN)) fd = UniqueFd();
}

}  // namespace

CommandResult run_command(const Command& command) {
  PLATTER_CHECK(!command.argv.empty());
  std::vector<std::string> arguments = command.argv;
  std::vector<std::string> environment = environment_with(command.env);
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(environment);
  Pipe in = make_pipe();
  Pipe out = make_pipe();
  Pipe err = make_pipe();

  int os_error = 0;
  const pid_t child =
      start(command, argv.data(), envp.data(),
            {in.read_end.get(), out.write_end.get(), err.write_end.get()}, os_error);
  if (os_error != 0) {
    return {.exit_code = 127,
            .err = command.argv.front() + ": " + ::strerrordesc_np(os_error) + "\n"};
  }
  in.read_end = UniqueFd();
  out.write_end = UniqueFd();
  err.write_end = UniqueFd();
  ::fcntl(in.write_end.get(), F_SETFL, O_NONBLOCK);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  struct sigaction before{};
  ::sigaction(SIGPIPE, &ignore, &before);

  CommandResult result;
  std::string_view input = command.input;
  if (input.empty()) in.write_end = UniqueFd();
  const Clock::time_point deadline = Clock::now() + command.timeout;
  while (out.read_end || err.read_end) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      result.timed_out = true;
      ::kill(-child, SIGKILL);
      break;
    }
    std::array<pollfd, 3> polled{{{out.read_end.get(), POLLIN, 0},
                                  {err.read_end.get(), POLLIN, 0},
                                  {in.write_end.get(), POLLOUT, 0}}};
    ::poll(polled.data(), polled.size(), static_cast<int>(left.count()));
    if (polled[0].revents != 0) drain(out.read_end, result.out);
    if (polled[1].revents != 0) drain(err.read_end, result.err);
    if (polled[2].revents != 0) feed(in.write_end, input);
  }
  ::sigaction(SIGPIPE, &before, nullptr);

  int status = 0;
  while (::waitpid(child, &status, 0) < 0) PLATTER_CHECK(errno == EINTR);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

bool have_program(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::string_view folders = path != nullptr ? path : "";
  while (!folders.empty()) {
    const std::size_t end = std::min(folders.find(':'), folders.size());
    const std::string file = std::string(folders.substr(0, end)) + "/" + program;
    if (::access(file.c_str(), X_OK) == 0) return true;
    folders.remove_prefix(std::min(end + 1, folders.size()));
  }
  return false;
}

}  // namespace platter::test
