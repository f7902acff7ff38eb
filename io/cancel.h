// Cooperative cancellation.
#pragma once

#include "io/error.h"
#include "io/task.h"

namespace platter {

/// Asks the operations that hold a reference to it to stop. One thread (the RunLoop's); a signal
/// handler reaches it through Ring::interrupt(). An operation looks at it before each step, lets
/// what is in flight finish, undoes what it made, and ends with ErrorKind::cancelled.
class CancelToken {
 public:
  CancelToken() = default;
  CancelToken(const CancelToken&) = delete;
  CancelToken& operator=(const CancelToken&) = delete;

  void request() noexcept { requested_ = true; }
  bool requested() const noexcept { return requested_; }
  /// The error to end with, once requested: `co_await cancel.check();`
  Result<void> check() const {
    if (!requested_) return {};
    return fail(ErrorKind::cancelled, "cancelled");
  }

 private:
  bool requested_ = false;
};

/// check(), after the loop had a chance to hear signals: where every request is done at once, in
/// memory, it has none otherwise. Null: nothing to check. REQUIRES: a ring.
Task<void> look_for_cancel(const CancelToken* cancel);

}  // namespace platter
