#include "src/cli/io/stop_event.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "io/ring.h"

namespace platter::cli {
namespace {

// 0, or an errno value; ECANCELED for a stop.
int wait_for(int stop_fd, int fd, std::optional<std::chrono::milliseconds> time) noexcept {
  std::array<pollfd, 2> watched{pollfd{.fd = stop_fd, .events = POLLIN, .revents = 0},
                                pollfd{.fd = fd, .events = POLLIN, .revents = 0}};
  timespec limit{};
  if (time) {
    limit.tv_sec = time->count() / 1000;
    limit.tv_nsec = time->count() % 1000 * 1'000'000;
  }
  for (;;) {
    const int count = ::ppoll(watched.data(), watched.size(), time ? &limit : nullptr, nullptr);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    return watched[0].revents != 0 ? ECANCELED : 0;
  }
}

}  // namespace

Result<StopEvent> StopEvent::make() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC));
  if (fd.get() < 0) return fail_errno(errno, "make an eventfd");
  return StopEvent(std::move(fd));
}

void StopEvent::stop() const noexcept {
  const std::uint64_t one = 1;
  // Can't fail but for a counter that is full, which is as readable.
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof(one));
}

Task<void> StopEvent::wait(int fd, std::optional<std::chrono::milliseconds> time) const {
  const int stop_fd = fd_.get();
  auto waiting = [stop_fd, fd, time] { return wait_for(stop_fd, fd, time); };
  const int error = co_await Ring::current().offload(waiting);
  if (error == ECANCELED) co_await fail(ErrorKind::cancelled, "cancelled");
  if (error != 0) co_await fail_errno(error, "wait");
}

}  // namespace platter::cli
