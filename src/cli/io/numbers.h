// Numbers in the commands of `platter io`, with qemu-io's words for wrong ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/error.h"

namespace platter::cli {

/// What one request may have, in bytes: qemu-io's limit.
inline constexpr std::uint64_t kRequestMax = 2147483136;
inline constexpr std::uint64_t kRequestAlignment = 512;

/// An offset or a length in bytes, with a suffix or without, below 2^63. Errors: invalid_argument,
/// too_large.
Result<std::uint64_t> parse_io_number(std::string_view text);

/// A byte in C's notation. Errors: invalid_argument.
Result<std::byte> parse_pattern(const std::string& text);

/// "1.5 KiB", "20 bytes": three digits after the point, or none.
std::string size_text(double bytes);

}  // namespace platter::cli
