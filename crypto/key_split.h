// LUKS's anti-forensic splitter: a key spread over many stripes, all of which are needed to get it back.
// See "LUKS1 On-Disk Format Specification", section 2.4.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "io/error.h"

namespace platter {

/// Fills `split` (`stripes` times the key's size) with random bytes that give the key again.
/// Errors: unsupported (the hash), io (no random bytes), out_of_memory.
Result<void> split_key(std::string_view hash, std::span<const std::byte> key, std::uint32_t stripes,
                       std::span<std::byte> split);

/// The key out of its stripes. Errors: unsupported (the hash), out_of_memory.
Result<void> merge_key(std::string_view hash, std::span<const std::byte> split,
                       std::uint32_t stripes, std::span<std::byte> key);

}  // namespace platter
