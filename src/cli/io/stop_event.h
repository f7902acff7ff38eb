// Waiting that a request to stop ends.
#pragma once

#include <chrono>
#include <optional>

#include "io/error.h"
#include "io/task.h"
#include "io/unique_fd.h"

namespace platter::cli {

/// What the ring's thread waits for on a worker, so that requests in flight go on: the loop itself
/// can't take back a read of a terminal, or a timer, once it is under way.
class StopEvent {
 public:
  /// Errors: io (no descriptors left).
  static Result<StopEvent> make();

  /// Ends every wait, now and from now on.
  void stop() const noexcept;

  /// Waits until `fd` (-1: none) has something to read, or has ended, or `time` (nothing: for ever)
  /// has passed. Errors: cancelled, io.
  Task<void> wait(int fd, std::optional<std::chrono::milliseconds> time) const;

 private:
  explicit StopEvent(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  UniqueFd fd_;  // an eventfd: readable once it is time to stop
};

}  // namespace platter::cli
