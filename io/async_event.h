// One thing that many coroutines of one RunLoop may wait for.
#pragma once

#include <coroutine>

#include "io/check.h"
#include "io/run_loop.h"

namespace platter {

/// Set once. Waiting after that does not suspend. Waiters continue from the loop, in order.
class AsyncEvent {
 public:
  AsyncEvent() = default;
  ~AsyncEvent() { PLATTER_CHECK(head_ == nullptr); }
  AsyncEvent(const AsyncEvent&) = delete;
  AsyncEvent& operator=(const AsyncEvent&) = delete;

  bool is_set() const noexcept { return set_; }
  void set() {
    set_ = true;
    while (head_ != nullptr) {
      RunLoop::current().post(head_->handle);
      head_ = head_->next;
    }
    tail_ = &head_;
  }

  struct [[nodiscard]] Wait {
    explicit Wait(AsyncEvent& awaited) noexcept : event(awaited) {}
    bool await_ready() const noexcept { return event.set_; }
    void await_suspend(std::coroutine_handle<> waiting) noexcept {
      handle = waiting;
      *event.tail_ = this;
      event.tail_ = &next;
    }
    void await_resume() const noexcept {}

    AsyncEvent& event;
    std::coroutine_handle<> handle{};
    Wait* next = nullptr;
  };
  Wait wait() noexcept { return Wait(*this); }

 private:
  bool set_ = false;
  Wait* head_ = nullptr;
  Wait** tail_ = &head_;
};

}  // namespace platter
