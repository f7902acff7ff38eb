// One thread, one ring, many coroutines: the run loop that knows I/O.
#pragma once

#include <atomic>
#include <chrono>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include "io/buffer_pool.h"
#include "io/error.h"
#include "io/io_operation.h"
#include "io/run_loop.h"
#include "io/worker_pool.h"

namespace platter {

class RingEngine;

/// Work that another thread hands to a ring. Owned by whoever posted it, alive until run() began.
class RemoteWork {
 public:
  /// Called once, on the ring's thread, from its loop.
  virtual void run() noexcept = 0;

 protected:
  ~RemoteWork() = default;

 private:
  friend class Ring;
  RemoteWork* next_ = nullptr;
};

/// What the kernel's io_uring offers beyond Linux 5.15; probed when a ring is made.
struct RingFeatures {
  bool single_issuer = false;  ///< IORING_SETUP_SINGLE_ISSUER, Linux 6.0
  bool defer_taskrun = false;  ///< IORING_SETUP_DEFER_TASKRUN, Linux 6.1
  bool coop_taskrun = false;   ///< IORING_SETUP_COOP_TASKRUN, Linux 5.19
  bool registered_files = false;
  bool registered_buffers = false;
};

enum class RingEngineKind : std::uint8_t { automatic, io_uring, threads };

struct RingOptions {
  /// automatic: io_uring, or threads where the kernel, seccomp or a sysctl forbids it.
  /// io_uring: an error of kind unsupported that says what to change.
  RingEngineKind engine = RingEngineKind::automatic;
  /// Requests submitted in one system call; more may be in flight.
  unsigned depth = 128;
  /// Threads of the fallback engine.
  unsigned threads = 16;
  /// Features to use where present; clear some to act like an older kernel.
  RingFeatures allow{true, true, true, true, true};
};

/// Owns an io_uring instance (or its fallback) and runs coroutines on the thread that made it.
///
/// The awaitables below yield what the system call would return: >= 0, or a negative errno value.
/// Buffers, paths and iovecs stay alive and in place until the await returns. Requests in flight
/// are not ordered with respect to each other. A completion continues its coroutine from the loop,
/// never from within a submission. Requests on a RingFile in memory are done before the await.
class Ring final : public RunLoop {
 public:
  /// Errors: unsupported (io_uring forbidden and the fallback not allowed), out_of_memory.
  static Result<std::unique_ptr<Ring>> create(const RingOptions& options = {});
  /// REQUIRES: no request is in flight.
  ~Ring() override;

  /// The ring of this thread. REQUIRES: there is one.
  static Ring& current() noexcept {
    PLATTER_CHECK(t_ring != nullptr);
    return *t_ring;
  }

  class [[nodiscard]] Io {
   public:
    Io(Ring& ring, const IoOperation& operation) noexcept : ring_(ring), operation_(operation) {}
    Io(const Io&) = delete;
    Io& operator=(const Io&) = delete;
    bool await_ready() noexcept {
      if (!operation_.file.in_memory) return false;
      operation_.result = perform(operation_);
      return true;
    }
    void await_suspend(std::coroutine_handle<> waiting) {
      operation_.waiting = waiting;
      ring_.submit(operation_);
    }
    int await_resume() const noexcept { return operation_.result; }

   private:
    Ring& ring_;
    IoOperation operation_;
  };

  /// At most 2 GiB - 4 KiB each, as the kernel has it; may be short. A buffer inside the pool's
  /// registered memory is used as such.
  Io read(RingFile file, std::span<std::byte> into, std::uint64_t offset) noexcept;
  Io write(RingFile file, std::span<const std::byte> data, std::uint64_t offset) noexcept;
  Io readv(RingFile file, std::span<const iovec> into, std::uint64_t offset) noexcept;
  Io writev(RingFile file, std::span<const iovec> data, std::uint64_t offset) noexcept;
  Io fsync(RingFile file) noexcept;
  Io fdatasync(RingFile file) noexcept;
  /// `mode`: FALLOC_FL_* flags, 0 to preallocate and extend.
  Io fallocate(RingFile file, int mode, std::uint64_t offset, std::uint64_t length) noexcept;
  Io statx(int folder_fd, const char* path, int flags, unsigned mask, struct ::statx* out) noexcept;
  Io openat(int folder_fd, const char* path, int flags, unsigned mode) noexcept;
  /// Yields 0 after the time has passed; at once for a time that is not positive.
  Io sleep(std::chrono::nanoseconds time) noexcept;

  /// Runs `function()` (blocking system calls, heavy computation) on a worker thread and yields
  /// what it returned. The function may not touch anything that belongs to this ring's thread.
  template <class Function>
  auto offload(Function function);
  /// The same on other workers, which outlive the await.
  template <class Function>
  auto offload_to(WorkerPool& pool, Function function);

  /// Registered files cost less per request. Returns the slot, or -1 where there is none left or
  /// the kernel has no table: the plain descriptor works all the same. The kernel keeps the file
  /// open (and its locks held) until unregister_file(), whatever close() says.
  int register_file(int fd) noexcept;
  void unregister_file(int slot) noexcept;

  /// Aligned memory for I/O on this thread, partly registered with the kernel.
  BufferPool& buffers() noexcept { return buffers_; }

  /// Any thread, as long as the ring outlives the call: has work.run() called on the ring's thread. A loop that has nothing else to wait
  /// for needs a hold (below) to wait for remote work.
  void post_remote(RemoteWork& work) noexcept;
  /// While held, an idle loop waits for remote work instead of calling it a deadlock. Ring's thread.
  void hold() noexcept { ++holds_; }
  void unhold() noexcept { --holds_; }

  /// Any thread, and async-signal-safe: has the interrupt handler called from the loop with all
  /// the bits that came together.
  void interrupt(unsigned bits) noexcept;
  void set_interrupt_handler(std::function<void(unsigned)> handler) {
    interrupt_handler_ = std::move(handler);
  }

  RingEngineKind engine() const noexcept;
  const RingFeatures& features() const noexcept;
  /// Why the automatic choice fell back to threads; empty otherwise.
  const std::string& fallback_reason() const noexcept { return fallback_reason_; }
  std::size_t in_flight() const noexcept { return in_flight_; }

 private:
  friend class BufferPool;  // registers its memory with the engine
  explicit Ring(int event_fd);
  void submit(IoOperation& operation);
  void poll(bool block) override;
  void drain_remote();
  void drain_interrupts();
  Io transfer(IoCode code, RingFile file, void* buffer, std::size_t length,
              std::uint64_t offset) noexcept;

  static inline constinit thread_local Ring* t_ring = nullptr;

  int event_fd_;
  std::unique_ptr<RingEngine> engine_;
  std::string fallback_reason_;
  std::size_t in_flight_ = 0;
  std::size_t holds_ = 0;
  std::atomic<RemoteWork*> remote_{nullptr};
  std::atomic<unsigned> interrupts_{0};
  std::function<void(unsigned)> interrupt_handler_;
  BufferPool buffers_;
  std::unique_ptr<WorkerPool> workers_;  // made at the first offload()
  WorkerPool& workers();

  template <class Function>
  friend class OffloadAwaiter;
};

/// See Ring::offload().
template <class Function>
class [[nodiscard]] OffloadAwaiter final : WorkerJob, RemoteWork {
 public:
  using Value = std::invoke_result_t<Function&>;

  OffloadAwaiter(Ring& ring, WorkerPool& workers, Function function)
      : ring_(ring), workers_(workers), function_(std::move(function)) {}
  OffloadAwaiter(const OffloadAwaiter&) = delete;
  OffloadAwaiter& operator=(const OffloadAwaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    waiting_ = waiting;
    ring_.hold();
    workers_.submit(*this);
  }
  Value await_resume() {
    if constexpr (!std::is_void_v<Value>) return *std::move(value_);
  }

 private:
  struct Nothing {};
  void execute() noexcept override {  // on a worker
    if constexpr (std::is_void_v<Value>) {
      function_();
    } else {
      value_.emplace(function_());
    }
    ring_.post_remote(*this);
  }
  void run() noexcept override {  // on the ring's thread
    ring_.unhold();
    ring_.post(waiting_);
  }

  Ring& ring_;
  WorkerPool& workers_;
  Function function_;
  std::coroutine_handle<> waiting_;
  std::optional<std::conditional_t<std::is_void_v<Value>, Nothing, Value>> value_;
};

template <class Function>
auto Ring::offload(Function function) {
  return OffloadAwaiter<Function>(*this, workers(), std::move(function));
}

template <class Function>
auto Ring::offload_to(WorkerPool& pool, Function function) {
  return OffloadAwaiter<Function>(*this, pool, std::move(function));
}

}  // namespace platter
