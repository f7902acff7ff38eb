// The thread's queue of coroutines that are ready to continue.
#pragma once

#include <coroutine>
#include <cstddef>
#include <utility>
#include <vector>

#include "io/check.h"
#include "io/task.h"

namespace platter {

/// Runs coroutines on the thread that made it; at most one on a thread at a time. By itself it
/// knows no source of events: a Ring adds I/O and messages from other threads.
class RunLoop {
 public:
  RunLoop();
  virtual ~RunLoop();
  RunLoop(const RunLoop&) = delete;
  RunLoop& operator=(const RunLoop&) = delete;

  /// The loop of this thread. REQUIRES: there is one.
  static RunLoop& current() noexcept {
    PLATTER_CHECK(t_current != nullptr);
    return *t_current;
  }

  /// Continues `handle` from the loop, after everything that was posted before it. This thread only.
  void post(std::coroutine_handle<> handle) { ready_.push(handle); }

  /// Runs `task`, and all that is posted meanwhile, until the task has finished. Not reentrant.
  template <class T>
  Result<T> run(Task<T> task) {
    PLATTER_CHECK(!std::exchange(running_, true));
    task.start();
    while (!task.finished()) step();
    running_ = false;
    return std::move(task.outcome());
  }

 protected:
  /// Blocks until something was posted, or returns at once if `block` is false.
  /// Called whenever the queue ran empty, and from time to time while it is not.
  virtual void poll(bool block);

  bool has_ready() const noexcept { return !ready_.empty(); }

 private:
  /// FIFO in one array that only grows: no allocation in the steady state.
  class Queue {
   public:
    Queue() : slots_(64) {}
    bool empty() const noexcept { return size_ == 0; }
    void push(std::coroutine_handle<> handle) {
      if (size_ == slots_.size()) grow();
      slots_[(head_ + size_++) & (slots_.size() - 1)] = handle;
    }
    std::coroutine_handle<> pop() {
      auto handle = slots_[head_];
      head_ = (head_ + 1) & (slots_.size() - 1);
      --size_;
      return handle;
    }

   private:
    void grow();
    std::vector<std::coroutine_handle<>> slots_;  // a power of two of them
    std::size_t head_ = 0;
    std::size_t size_ = 0;
  };

  void step();

  static inline constinit thread_local RunLoop* t_current = nullptr;
  Queue ready_;
  unsigned since_poll_ = 0;
  bool running_ = false;
};

/// Lets everything else that is ready run first.
struct [[nodiscard]] Yield {
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) { RunLoop::current().post(handle); }
  void await_resume() const noexcept {}
};
inline Yield yield() noexcept { return {}; }

}  // namespace platter
