#include "io/ring.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "io/ring_engine.h"

namespace platter {
namespace {

// The kernel's own limit for one transfer (MAX_RW_COUNT).
constexpr std::size_t kMaxTransfer = 0x7ffff000;

}  // namespace

Ring::Ring(int event_fd) : event_fd_(event_fd), buffers_(*this) { t_ring = this; }

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  const int event_fd = ::eventfd(0, EFD_CLOEXEC);
  if (event_fd < 0) return fail_errno(errno, "create an eventfd");
  std::unique_ptr<Ring> ring(new Ring(event_fd));
  if (options.engine != RingEngineKind::threads) {
    Result<std::unique_ptr<RingEngine>> engine = make_uring_engine(event_fd, options);
    if (engine) {
      ring->engine_ = *std::move(engine);
      return ring;
    }
    if (options.engine == RingEngineKind::io_uring) return fail(std::move(engine.error()));
    ring->fallback_reason_ = engine.error().message();
  }
  ring->engine_ = make_thread_engine(event_fd, options);
  return ring;
}

Ring::~Ring() {
  PLATTER_CHECK(in_flight_ == 0);
  workers_.reset();
  buffers_.release_all();
  engine_.reset();
  ::close(event_fd_);
  t_ring = nullptr;
}

void Ring::submit(IoOperation& operation) {
  ++in_flight_;
  engine_->submit(operation);
}

void Ring::poll(bool block) {
  drain_interrupts();
  if (remote_.load(std::memory_order_relaxed) != nullptr) block = false;
  if (has_ready()) block = false;
  // With nothing in flight and no hold, nothing could ever come: the awaited task can't finish.
  if (block) PLATTER_CHECK(in_flight_ > 0 || holds_ > 0);

  IoOperation* completed = nullptr;
  IoOperation** tail = &completed;
  engine_->poll(block, tail);
  while (completed != nullptr) {
    IoOperation* operation = std::exchange(completed, completed->next);
    --in_flight_;
    post(operation->waiting);
  }
  drain_remote();
  drain_interrupts();
}

void Ring::post_remote(RemoteWork& work) noexcept {
  RemoteWork* head = remote_.load(std::memory_order_relaxed);
  const int event_fd = event_fd_;
  do {
    work.next_ = head;
  } while (!remote_.compare_exchange_weak(head, &work, std::memory_order_release,
                                          std::memory_order_relaxed));
  // Whoever found the list empty wakes the ring; `work` may be gone by now.
  if (head != nullptr) return;
  const std::uint64_t one = 1;
  while (::write(event_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void Ring::drain_remote() {
  RemoteWork* list = remote_.exchange(nullptr, std::memory_order_acquire);
  RemoteWork* in_order = nullptr;
  while (list != nullptr) {
    RemoteWork* next = std::exchange(list->next_, in_order);
    in_order = std::exchange(list, next);
  }
  while (in_order != nullptr) {
    RemoteWork* work = std::exchange(in_order, in_order->next_);
    work->run();
  }
}

void Ring::interrupt(unsigned bits) noexcept {
  interrupts_.fetch_or(bits, std::memory_order_release);
  const int saved = errno;
  const std::uint64_t one = 1;
  while (::write(event_fd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
  errno = saved;
}

void Ring::drain_interrupts() {
  if (interrupts_.load(std::memory_order_relaxed) == 0) return;
  const unsigned bits = interrupts_.exchange(0, std::memory_order_acquire);
  if (bits != 0 && interrupt_handler_) interrupt_handler_(bits);
}

WorkerPool& Ring::workers() {
  if (!workers_) {
    workers_ = std::make_unique<WorkerPool>(std::max(2U, std::thread::hardware_concurrency()));
  }
  return *workers_;
}

Ring::Io Ring::transfer(IoCode code, RingFile file, void* buffer, std::size_t length,
                        std::uint64_t offset) noexcept {
  IoOperation operation{.code = code, .file = file};
  operation.buffer = buffer;
  operation.length = static_cast<std::uint32_t>(std::min(length, kMaxTransfer));
  operation.offset = offset;
  operation.fixed_buffer = buffers_.fixed_index(buffer);
  return {*this, operation};
}

Ring::Io Ring::read(RingFile file, std::span<std::byte> into, std::uint64_t offset) noexcept {
  return transfer(IoCode::read, file, into.data(), into.size(), offset);
}

Ring::Io Ring::write(RingFile file, std::span<const std::byte> data,
                     std::uint64_t offset) noexcept {
  return transfer(IoCode::write, file, const_cast<std::byte*>(data.data()), data.size(), offset);
}

Ring::Io Ring::readv(RingFile file, std::span<const iovec> into, std::uint64_t offset) noexcept {
  IoOperation operation{.code = IoCode::readv, .file = file};
  operation.buffer = const_cast<iovec*>(into.data());
  operation.length = static_cast<std::uint32_t>(into.size());
  operation.offset = offset;
  return {*this, operation};
}

Ring::Io Ring::writev(RingFile file, std::span<const iovec> data, std::uint64_t offset) noexcept {
  IoOperation operation{.code = IoCode::writev, .file = file};
  operation.buffer = const_cast<iovec*>(data.data());
  operation.length = static_cast<std::uint32_t>(data.size());
  operation.offset = offset;
  return {*this, operation};
}

Ring::Io Ring::fsync(RingFile file) noexcept {
  return {*this, IoOperation{.code = IoCode::fsync, .file = file}};
}

Ring::Io Ring::fdatasync(RingFile file) noexcept {
  return {*this, IoOperation{.code = IoCode::fsync, .file = file, .flags = 1}};
}

Ring::Io Ring::fallocate(RingFile file, int mode, std::uint64_t offset,
                         std::uint64_t length) noexcept {
  IoOperation operation{.code = IoCode::fallocate, .file = file};
  operation.flags = static_cast<std::uint32_t>(mode);
  operation.offset = offset;
  operation.offset2 = length;
  return {*this, operation};
}

Ring::Io Ring::statx(int folder_fd, const char* path, int flags, unsigned mask,
                     struct ::statx* out) noexcept {
  IoOperation operation{.code = IoCode::statx, .file = {.fd = folder_fd}};
  operation.path = path;
  operation.flags = static_cast<std::uint32_t>(flags);
  operation.length = mask;
  operation.buffer = out;
  return {*this, operation};
}

Ring::Io Ring::openat(int folder_fd, const char* path, int flags, unsigned mode) noexcept {
  IoOperation operation{.code = IoCode::openat, .file = {.fd = folder_fd}};
  operation.path = path;
  operation.flags = static_cast<std::uint32_t>(flags);
  operation.length = mode;
  return {*this, operation};
}

Ring::Io Ring::sleep(std::chrono::nanoseconds time) noexcept {
  IoOperation operation{.code = IoCode::timeout};
  time = std::max(time, std::chrono::nanoseconds::zero());  // the kernel refuses negative times
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  operation.time.tv_sec = seconds.count();
  operation.time.tv_nsec = (time - seconds).count();
  return {*this, operation};
}

int Ring::register_file(int fd) noexcept { return engine_->register_file(fd); }
void Ring::unregister_file(int slot) noexcept {
  if (slot >= 0) engine_->unregister_file(slot);
}

RingEngineKind Ring::engine() const noexcept { return engine_->kind(); }
const RingFeatures& Ring::features() const noexcept { return engine_->features(); }

}  // namespace platter
