// Structured concurrency: tasks that are joined on every way out.
#pragma once

#include <coroutine>
#include <cstddef>
#include <list>
#include <optional>
#include <utility>

#include "io/check.h"
#include "io/run_loop.h"
#include "io/task.h"

namespace platter {

/// Runs tasks with bounded concurrency. join() before destruction (CHECK): use with_group().
/// Belongs to one RunLoop. One coroutine at a time may spawn or join.
class TaskGroup {
 public:
  explicit TaskGroup(std::size_t limit) : limit_(limit) { PLATTER_CHECK(limit > 0); }
  ~TaskGroup() { PLATTER_CHECK(members_.empty()); }
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  /// True once a task has ended with an error: a producer's cue to stop spawning.
  bool failed() const noexcept { return error_.has_value(); }
  std::size_t running() const noexcept { return members_.size(); }

  /// Waits until fewer than `limit` tasks run, then starts this one.
  Task<void> spawn(Task<void> task) {
    while (members_.size() >= limit_) co_await Below(*this, limit_);
    Member& member = members_.emplace_back(*this, std::move(task));
    member.self = std::prev(members_.end());
    if (!member.task.start()) {
      member.task.set_waiter(member);
    } else if (auto unblocked = member.on_finished()) {
      RunLoop::current().post(unblocked);
    }
  }

  /// Waits for all tasks; ends with the first error that occurred, if any.
  Task<void> join() {
    co_await Below(*this, 1);
    if (error_) co_await fail(*std::exchange(error_, std::nullopt));
  }

 private:
  struct Member final : detail::Waiter {
    Member(TaskGroup& owner, Task<void> member_task) noexcept
        : group(owner), task(std::move(member_task)) {}
    std::coroutine_handle<> on_finished() noexcept override {
      TaskGroup& owner = group;
      if (Result<void>& outcome = task.outcome(); !outcome && !owner.error_) {
        owner.error_ = std::move(outcome.error());
      }
      owner.members_.erase(self);  // destroys *this
      if (owner.members_.size() >= owner.wake_below_) return nullptr;
      return std::exchange(owner.blocked_, nullptr);
    }
    TaskGroup& group;
    Task<void> task;
    std::list<Member>::iterator self;
  };

  /// Waits until fewer than `count` tasks run.
  struct Below {
    Below(TaskGroup& awaited, std::size_t below) noexcept : group(awaited), count(below) {}
    bool await_ready() const noexcept { return group.members_.size() < count; }
    void await_suspend(std::coroutine_handle<> handle) {
      PLATTER_CHECK(!group.blocked_);
      group.blocked_ = handle;
      group.wake_below_ = count;
    }
    void await_resume() const noexcept {}
    TaskGroup& group;
    std::size_t count;
  };

  const std::size_t limit_;
  std::list<Member> members_;
  std::optional<Error> error_;
  std::coroutine_handle<> blocked_;
  std::size_t wake_below_ = 0;
};

/// Runs `body(group)` and joins the group even if the body fails; the body's error comes first.
/// `body` is a callable that returns Task<void>; it is kept alive until the join.
template <class Body>
Task<void> with_group(std::size_t limit, Body body) {
  TaskGroup group(limit);
  Result<void> spawned = co_await body(group).result();
  Result<void> joined = co_await group.join().result();
  co_await std::move(spawned);
  co_await std::move(joined);
}

}  // namespace platter
