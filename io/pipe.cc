#include "io/pipe.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "io/bytes.h"
#include "io/ring.h"

namespace platter {
namespace {

constexpr int kWait_ms = 100;
constexpr std::size_t kPieceMax = 1 * kMiB;

using Clock = std::chrono::steady_clock;

// What a worker did until all was done, something went wrong, or it was time to look around.
struct Moved {
  std::size_t count = 0;
  bool ended = false;
  int os_error = 0;
};

// `move(done)` reads or writes from byte `done` on.
template <class Move>
Moved move_some(int fd, short event, std::size_t length, Move move) {
  Moved moved;
  const auto until = Clock::now() + std::chrono::milliseconds(kWait_ms);
  while (moved.count < length) {
    pollfd wanted{.fd = fd, .events = event, .revents = 0};
    const int ready = ::poll(&wanted, 1, kWait_ms);
    if (ready == 0) break;
    const ssize_t count = ready > 0 ? move(moved.count) : -1;
    if (count < 0 && errno != EINTR && errno != EAGAIN) {
      moved.os_error = errno;
      break;
    }
    if (count == 0) {
      moved.ended = true;
      break;
    }
    if (count > 0) moved.count += static_cast<std::size_t>(count);
    if (Clock::now() >= until) break;
  }
  return moved;
}

// Keeps SIGPIPE from the process while this thread writes: a reader that is gone is an error. What was
// pending before stays pending.
class PipeSignalHeld {
 public:
  PipeSignalHeld() {
    sigset_t pending;
    ::sigpending(&pending);
    was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~PipeSignalHeld() {
    constexpr timespec kAtOnce{};
    if (!was_pending_) ::sigtimedwait(&pipe_, nullptr, &kAtOnce);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  PipeSignalHeld(const PipeSignalHeld&) = delete;
  PipeSignalHeld& operator=(const PipeSignalHeld&) = delete;

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

Result<struct stat> look_at(int fd, const std::string& name) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat", name);
  if (::isatty(fd) == 1) {
    return fail(ErrorKind::wrong_type, "'" + name + "' is a terminal, and an image is not text");
  }
  if (S_ISDIR(status.st_mode)) return fail_errno(EISDIR, "open", name);
  return status;
}

// Fewer, larger pieces. Where that is not allowed, it is not needed either.
void enlarge(int fd) { ::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(kPieceMax)); }

}  // namespace

Result<std::unique_ptr<PipeReader>> PipeReader::make(UniqueFd fd, std::string name) {
  const Result<struct stat> status = look_at(fd.get(), name);
  if (!status) return fail(status.error().clone());
  enlarge(fd.get());
  return std::unique_ptr<PipeReader>(new PipeReader(std::move(fd), std::move(name)));
}

Task<std::size_t> PipeReader::read(std::span<std::byte> into, const CancelToken* cancel) {
  std::size_t done = 0;
  while (done < into.size()) {
    co_await look_for_cancel(cancel);
    const int fd = fd_.get();
    const std::span<std::byte> rest = into.subspan(done);
    const Moved moved = co_await Ring::current().offload([fd, rest] {
      return move_some(fd, POLLIN, rest.size(), [&](std::size_t at) {
        return ::read(fd, rest.data() + at, rest.size() - at);
      });
    });
    done += moved.count;
    if (moved.os_error != 0) co_return fail_errno(moved.os_error, "read", name_);
    if (moved.ended) break;
  }
  co_return done;
}

Result<std::unique_ptr<PipeWriter>> PipeWriter::make(UniqueFd fd, std::string name) {
  const Result<struct stat> status = look_at(fd.get(), name);
  if (!status) return fail(status.error().clone());
  std::size_t piece = kPieceMax;
  if (S_ISFIFO(status->st_mode)) {
    enlarge(fd.get());
    // A descriptor of its own does not wait, and the shell's stays as it is.
    const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
    UniqueFd own(::open(link.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    if (own) {
      fd = std::move(own);
    } else {
      piece = PIPE_BUF;
    }
  } else if (!S_ISREG(status->st_mode)) {
    piece = PIPE_BUF;
  }
  return std::unique_ptr<PipeWriter>(new PipeWriter(std::move(fd), std::move(name), piece));
}

Task<void> PipeWriter::write(std::span<const std::byte> data, const CancelToken* cancel) {
  while (!data.empty()) {
    co_await look_for_cancel(cancel);
    const int fd = fd_.get();
    const std::size_t piece = piece_;
    const Moved moved = co_await Ring::current().offload([fd, data, piece] {
      const PipeSignalHeld held;
      return move_some(fd, POLLOUT, data.size(), [&](std::size_t at) {
        return ::write(fd, data.data() + at, std::min(piece, data.size() - at));
      });
    });
    if (moved.os_error != 0) co_await fail_errno(moved.os_error, "write", name_);
    data = data.subspan(moved.count);
  }
}

Task<void> PipeWriter::finish() {
  const int fd = fd_.get();
  const int os_error =
      co_await Ring::current().offload([fd] { return ::fsync(fd) == 0 ? 0 : errno; });
  const bool nothing_to_sync = os_error == EINVAL || os_error == EROFS || os_error == ENOTSUP;
  if (os_error != 0 && !nothing_to_sync) co_await fail_errno(os_error, "flush", name_);
}

}  // namespace platter
