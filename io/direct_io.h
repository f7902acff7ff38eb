// What the parts of DirectFile share. Internal to io/.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <limits>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task.h"

namespace platter {

/// Unaligned requests move through buffers of at most this size.
inline constexpr std::uint64_t kBounceSize = 1 * kMiB;

/// A device that never gets further than a part of a block is broken.
inline constexpr unsigned kFruitlessAttemptsMax = 100;

/// The length of a range without an end, for a RangeLock.
constexpr std::uint64_t to_infinity(std::uint64_t offset) {
  return std::numeric_limits<std::uint64_t>::max() - offset;
}

/// Whether a request that ended with this result (0 or a negative errno value) is to be tried again.
inline bool is_transient(int result) { return result == -EINTR || result == -EAGAIN; }

/// EAGAIN from a file that can't say when it is ready: look again, without spinning.
inline Task<void> back_off(Ring& ring, unsigned attempt) {
  if (attempt > 0) {
    const int slept = co_await ring.sleep(std::chrono::milliseconds(1));
    if (slept < 0) co_await fail_errno(-slept, "wait");
  }
}

}  // namespace platter
