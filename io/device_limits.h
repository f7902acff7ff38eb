// What a block device's driver says of requests.
#pragma once

#include <cstdint>
#include <optional>

#include "io/error.h"

namespace platter {

/// Sizes in bytes; nothing where the driver says nothing.
struct DeviceLimits {
  std::optional<std::uint32_t> transfer_max;         ///< of one request to the hardware
  std::optional<std::uint32_t> segments_max;         ///< pieces of memory in one of them
  std::optional<std::uint32_t> discard_granularity;  ///< what a discard can give back at once
};

/// Of an open block device; nothing at all for other files. A partition has its disk's limits.
/// Errors: io, permission. A kernel without /sys tells what it can.
Result<DeviceLimits> read_device_limits(int fd);

}  // namespace platter
