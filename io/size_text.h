// Sizes as people write them, the way QEMU has them.
#pragma once

#include <cstdint>
#include <string_view>

#include "io/error.h"

namespace platter {

/// Parses "1000", "0x1000", "64k", "1.5G", ...: bytes, or with a suffix b, k, M, G, T, P, E
/// (powers of 1024, any case). A fraction of a byte is none; a hexadecimal number has
/// no suffix.
/// Errors: invalid_argument (not a size), too_large (over 2^64 - 1).
Result<std::uint64_t> parse_size(std::string_view text);

}  // namespace platter
