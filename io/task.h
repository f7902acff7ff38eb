// Task<T>: a lazy, move-only coroutine that ends with a Result<T>.
//
//   T v = co_await task();                      // the value, or this coroutine ends with the error
//   Result<T> r = co_await task().result();     // observe: never ends this coroutine
//   T v = co_await some_result;                 // Result<T>: same as for a task
//   co_return fail(ErrorKind::..., "...");      // ends this coroutine with an error
//   co_await fail(...);                         // the same in a Task<void>, which has no co_return value
//
// Threads. A task runs on the thread of the RunLoop that it was started on, and nowhere else.
//
// Stack use. An awaited task runs inline in await_suspend() until it finishes or blocks, so a loop
// over tasks that finish at once needs no tail call. A task that finishes after having blocked only
// leaves its waiter in t_finished; resume(), the one place that continues a blocked coroutine, then
// walks up the waiters in a loop. So the stack's depth is that of the await chain, never of a
// loop's count. (Symmetric transfer overflows at -O0 and under AddressSanitizer.)
//
// Unwinding. An error destroys the frames that it passes through, innermost first, each exactly
// once, and never while one of their functions is on the stack. Locals are destroyed in the same
// order whether the error came at once or after blocking.
//
// Rules for authors.
//  - Coroutines are named functions; parameters are taken by value or outlive the task.
//  - A task that has blocked must finish before it is destroyed (CHECK): cancel, then await.
//  - An awaiter outside this file post()s a handle to its RunLoop, it never resumes it itself.
//  - `new T(co_await ...)` leaks on an error; frames guarantee 16-byte alignment only, so I/O
//    buffers live on the heap.
#pragma once

#include <coroutine>
#include <cstddef>
#include <optional>
#include <type_traits>
#include <utility>

#include "io/check.h"
#include "io/error.h"
#include "io/frame_pool.h"

namespace platter {

template <class T>
class Task;

namespace detail {

/// Told that a task which had blocked is finished; returns the coroutine to continue, if any.
class Waiter {
 public:
  virtual std::coroutine_handle<> on_finished() noexcept = 0;

 protected:
  ~Waiter() = default;
};

/// The waiter of the task that finished during the latest handle.resume() on this thread.
inline constinit thread_local Waiter* t_finished = nullptr;

/// Continues a blocked coroutine, then whatever its completion unblocks.
inline void resume(std::coroutine_handle<> handle) {
  for (;;) {
    if (handle) handle.resume();
    Waiter* waiter = std::exchange(t_finished, nullptr);
    if (waiter == nullptr) return;
    handle = waiter->on_finished();  // sets t_finished again if an error passes through
  }
}

enum class TaskState : unsigned char { created, started, finished };

class PromiseBase {
 public:
  static void* operator new(std::size_t size) { return FramePool::allocate(size); }
  static void operator delete(void* frame, std::size_t size) noexcept {
    FramePool::release(frame, size);
  }

  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) noexcept {
      handle.promise().finish();
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }

  /// Ends the coroutine with an error at the co_await where it is suspended.
  virtual void fail(Error&& error) noexcept = 0;

  TaskState state = TaskState::created;
  Waiter* waiter = nullptr;  // null while the task runs inline below its awaiter

 protected:
  ~PromiseBase() = default;
  void finish() noexcept {
    state = TaskState::finished;
    if (waiter != nullptr) t_finished = waiter;
  }
};

template <class T>
class PromiseResult : public PromiseBase {
 public:
  void fail(Error&& error) noexcept final {
    result.emplace(std::unexpect, std::move(error));
    finish();
  }
  std::optional<Result<T>> result;

 protected:
  ~PromiseResult() = default;
};

template <class T>
class Promise final : public PromiseResult<T> {
 public:
  Task<T> get_return_object() noexcept;
  template <class V = T>
    requires std::is_convertible_v<V, Result<T>>  // T, std::unexpected<Error> or Result<T>
  void return_value(V&& value) {
    this->result.emplace(std::forward<V>(value));
  }
};

template <>
class Promise<void> final : public PromiseResult<void> {
 public:
  Task<void> get_return_object() noexcept;
  void return_void() noexcept { result.emplace(); }
};

template <class T, bool kObserve>
class TaskAwaiter;

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::Promise<T>;

  explicit Task(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    Task(std::move(other)).swap(*this);
    return *this;
  }
  ~Task() {
    if (!handle_) return;
    PLATTER_CHECK(handle_.promise().state != detail::TaskState::started);
    handle_.destroy();
  }
  void swap(Task& other) noexcept { std::swap(handle_, other.handle_); }

  detail::TaskAwaiter<T, false> operator co_await() && noexcept { return {std::move(*this)}; }
  /// Awaiting this hands over the Result and never ends the awaiting coroutine.
  detail::TaskAwaiter<T, true> result() && noexcept { return {std::move(*this)}; }

  // For executors only.

  /// Runs the task until it finishes or blocks; true if it has finished.
  bool start() {
    PLATTER_CHECK(handle_ && handle_.promise().state == detail::TaskState::created);
    handle_.promise().state = detail::TaskState::started;
    handle_.resume();
    return finished();
  }
  bool finished() const noexcept { return handle_.promise().state == detail::TaskState::finished; }
  void set_waiter(detail::Waiter& waiter) noexcept { handle_.promise().waiter = &waiter; }
  /// REQUIRES: finished().
  Result<T>& outcome() noexcept { return *handle_.promise().result; }

 private:
  std::coroutine_handle<promise_type> handle_;
};

namespace detail {

template <class T>
Task<T> Promise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<Promise>::from_promise(*this));
}
inline Task<void> Promise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<Promise>::from_promise(*this));
}

template <class T, bool kObserve>
class [[nodiscard]] TaskAwaiter final : Waiter {
 public:
  TaskAwaiter(Task<T> child) noexcept : child_(std::move(child)) {}  // NOLINT: made by Task only
  TaskAwaiter(const TaskAwaiter&) = delete;
  TaskAwaiter& operator=(const TaskAwaiter&) = delete;

  bool await_ready() const noexcept { return false; }
  template <class ParentPromise>
  bool await_suspend(std::coroutine_handle<ParentPromise> parent) {
    parent_promise_ = &parent.promise();
    parent_ = parent;
    if (child_.start()) return !settle();
    child_.set_waiter(*this);
    return true;
  }
  auto await_resume() -> std::conditional_t<kObserve, Result<T>, T> {
    Task<T> child = std::move(child_);  // destroys the frame before the parent's code goes on
    if constexpr (kObserve) {
      return std::move(child.outcome());
    } else if constexpr (!std::is_void_v<T>) {
      return *std::move(child.outcome());
    }
  }

 private:
  std::coroutine_handle<> on_finished() noexcept override { return settle() ? parent_ : nullptr; }

  /// True if the parent goes on; otherwise the parent is finished, with the child's error.
  bool settle() noexcept {
    if (kObserve || child_.outcome()) return true;
    Task<T> child = std::move(child_);
    parent_promise_->fail(std::move(child.outcome().error()));
    return false;
  }

  Task<T> child_;
  PromiseBase* parent_promise_ = nullptr;
  std::coroutine_handle<> parent_;
};

template <class T>
struct [[nodiscard]] ResultAwaiter {
  explicit ResultAwaiter(Result<T> awaited) : result(std::move(awaited)) {}
  bool await_ready() const noexcept { return result.has_value(); }
  template <class ParentPromise>
  void await_suspend(std::coroutine_handle<ParentPromise> parent) noexcept {
    parent.promise().fail(std::move(result.error()));
  }
  T await_resume() {
    if constexpr (!std::is_void_v<T>) return *std::move(result);
  }
  Result<T> result;
};

}  // namespace detail

/// co_await on a Result or on fail(...): found through Error's namespace.
template <class T>
auto operator co_await(Result<T> result) {
  return detail::ResultAwaiter<T>(std::move(result));
}
inline auto operator co_await(std::unexpected<Error> error) {
  return detail::ResultAwaiter<void>(std::move(error));
}

}  // namespace platter
