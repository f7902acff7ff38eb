// What a volume held, made unreadable before its space is given to somebody else.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter {

enum class WipeMethod : std::uint8_t {
  none,
  zero,     ///< zeroes, by the device where it can (BLKZEROOUT), else written
  discard,  ///< the device is told that nothing of it is needed: quick, and only as good as the device
  random,  ///< bytes of the kernel's random number generator
};

struct WipePolicy {
  WipeMethod method = WipeMethod::zero;
  /// Bytes from the start; nothing: all.
  std::optional<std::uint64_t> first{};
  /// How often everything is written over, with a flush after each time. `discard`: once.
  unsigned passes = 1;
};

/// Tells after each piece how many bytes more are done, of all passes together.
using WipeProgress = std::function<void(std::uint64_t)>;

/// Wipes a device, several pieces at a time, and makes it durable.
/// Errors: unsupported (discard, and the device can't), read_only, cancelled, io.
Task<void> wipe(File& device, WipePolicy policy, const CancelToken* cancel = nullptr,
                WipeProgress progress = {});

/// How many bytes wipe() writes, all passes together.
Task<std::uint64_t> wipe_total(File& device, const WipePolicy& policy);

}  // namespace platter
