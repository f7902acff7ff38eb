// Keeps read-modify-writes of a device block apart from every other write to it.
#pragma once

#include <coroutine>
#include <cstdint>
#include <utility>

#include "io/check.h"
#include "io/run_loop.h"

namespace platter {

/// Locks byte ranges, shared or exclusive, between coroutines of one RunLoop. Shared ranges may
/// overlap each other; an exclusive one overlaps nothing. Fair: a request waits for every earlier
/// one that it conflicts with, granted or waiting. Without exclusive requests, locking is O(1).
class RangeLock {
 public:
  RangeLock() = default;
  ~RangeLock() { PLATTER_CHECK(first_ == nullptr); }
  RangeLock(const RangeLock&) = delete;
  RangeLock& operator=(const RangeLock&) = delete;

  /// Holds a range for as long as it lives. Awaited where it is made; can't move.
  class [[nodiscard]] Guard {
   public:
    Guard(RangeLock& lock, std::uint64_t offset, std::uint64_t length, bool exclusive) noexcept
        : lock_(lock), begin_(offset), end_(offset + length), exclusive_(exclusive) {
      lock_.append(*this);
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() { lock_.remove(*this); }

    /// `co_await guard.acquired();` before the range is touched.
    auto acquired() noexcept {
      struct Awaiter {
        Guard& guard;
        bool await_ready() const noexcept { return !guard.lock_.blocked(guard); }
        void await_suspend(std::coroutine_handle<> handle) const noexcept {
          guard.waiting_ = handle;
        }
        void await_resume() const noexcept {}
      };
      return Awaiter{*this};
    }

   private:
    friend class RangeLock;
    bool conflicts(const Guard& other) const noexcept {
      return (exclusive_ || other.exclusive_) && begin_ < other.end_ && other.begin_ < end_;
    }
    RangeLock& lock_;
    std::uint64_t begin_;
    std::uint64_t end_;
    bool exclusive_;
    std::coroutine_handle<> waiting_;
    Guard* previous_ = nullptr;
    Guard* next_ = nullptr;
  };

 private:
  void append(Guard& guard) noexcept {
    guard.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &guard;
    last_ = &guard;
    if (guard.exclusive_) ++exclusive_;
  }

  void remove(Guard& guard) noexcept {
    (guard.previous_ != nullptr ? guard.previous_->next_ : first_) = guard.next_;
    (guard.next_ != nullptr ? guard.next_->previous_ : last_) = guard.previous_;
    const bool any_exclusive = exclusive_ > 0;
    if (guard.exclusive_) --exclusive_;
    if (any_exclusive) wake(guard);
  }

  /// True if an earlier request stands in the way.
  bool blocked(const Guard& guard) const noexcept {
    if (exclusive_ == 0) return false;
    for (const Guard* earlier = guard.previous_; earlier != nullptr; earlier = earlier->previous_) {
      if (earlier->conflicts(guard)) return true;
    }
    return false;
  }

  void wake(const Guard& removed) noexcept {
    for (Guard* later = removed.next_; later != nullptr; later = later->next_) {
      if (later->waiting_ && later->conflicts(removed) && !blocked(*later)) {
        RunLoop::current().post(std::exchange(later->waiting_, nullptr));
      }
    }
  }

  Guard* first_ = nullptr;  // in order of arrival
  Guard* last_ = nullptr;
  std::size_t exclusive_ = 0;
};

}  // namespace platter
