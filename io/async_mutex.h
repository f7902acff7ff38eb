// Mutual exclusion and counting between coroutines of one RunLoop. No atomics: one thread.
#pragma once

#include <coroutine>
#include <cstddef>
#include <utility>

#include "io/check.h"
#include "io/run_loop.h"

namespace platter {

/// Counts permits. FIFO: a released permit goes to the oldest waiter, which continues from the run
/// loop; a later acquire() never overtakes it.
class AsyncSemaphore {
 public:
  explicit AsyncSemaphore(std::size_t permits) noexcept : free_(permits) {}
  ~AsyncSemaphore() { PLATTER_CHECK(head_ == nullptr); }
  AsyncSemaphore(const AsyncSemaphore&) = delete;
  AsyncSemaphore& operator=(const AsyncSemaphore&) = delete;

  /// Gives its permit back when it goes out of scope.
  class [[nodiscard]] Permit {
   public:
    explicit Permit(AsyncSemaphore& semaphore) noexcept : semaphore_(&semaphore) {}
    Permit(Permit&& other) noexcept : semaphore_(std::exchange(other.semaphore_, nullptr)) {}
    Permit& operator=(Permit&&) = delete;
    ~Permit() {
      if (semaphore_ != nullptr) semaphore_->release();
    }

   private:
    AsyncSemaphore* semaphore_;
  };

  struct [[nodiscard]] Acquire {
    explicit Acquire(AsyncSemaphore& awaited) noexcept : semaphore(awaited) {}
    bool await_ready() noexcept {
      if (semaphore.free_ == 0) return false;
      --semaphore.free_;
      return true;
    }
    void await_suspend(std::coroutine_handle<> waiting) noexcept {
      handle = waiting;
      *semaphore.tail_ = this;
      semaphore.tail_ = &next;
    }
    Permit await_resume() noexcept { return Permit(semaphore); }

    AsyncSemaphore& semaphore;
    std::coroutine_handle<> handle;
    Acquire* next = nullptr;
  };
  Acquire acquire() noexcept { return Acquire(*this); }

  std::size_t available() const noexcept { return free_; }

 private:
  void release() {
    Acquire* first = head_;
    if (first == nullptr) {
      ++free_;
      return;
    }
    head_ = first->next;
    if (head_ == nullptr) tail_ = &head_;
    RunLoop::current().post(first->handle);
  }

  std::size_t free_;
  Acquire* head_ = nullptr;
  Acquire** tail_ = &head_;
};

/// `auto guard = co_await mutex.lock();`
class AsyncMutex {
 public:
  using Guard = AsyncSemaphore::Permit;
  AsyncSemaphore::Acquire lock() noexcept { return semaphore_.acquire(); }
  bool locked() const noexcept { return semaphore_.available() == 0; }
  ~AsyncMutex() { PLATTER_CHECK(!locked()); }

 private:
  AsyncSemaphore semaphore_{1};
};

}  // namespace platter
