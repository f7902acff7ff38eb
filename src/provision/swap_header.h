// The first page of a swap area.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "io/error.h"

namespace platter::provision {

struct SwapOptions {
  std::string label{};  ///< up to 15 bytes
  /// All zeroes: a random one (version 4).
  std::array<std::byte, 16> uuid{};
  /// Bytes: that of the machine that uses it. 0: this machine's.
  std::uint32_t page_size = 0;
};

/// As mkswap(8) writes it, version 1 (linux/swap.h, "union swap_header"): in this machine's byte order,
/// without bad pages, one page long. `size`: the area's, in bytes.
/// Errors: invalid_argument (less than 10 pages; a label that is too long), too_large (over 2^32 pages).
Result<std::vector<std::byte>> swap_header(std::uint64_t size, SwapOptions options);

}  // namespace platter::provision
