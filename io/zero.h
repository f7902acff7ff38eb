// Zero detection, by the widest vectors the CPU has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace platter {

/// True if every byte is zero (so also for no bytes). Any alignment. Reads stop at the first block
/// of a few hundred bytes that holds something else: data costs about one cache line.
bool is_zero(std::span<const std::byte> bytes) noexcept;

/// How many bytes from the start belong to blocks of `block` bytes of the same kind (all zero, or
/// not) as the first block, which is told in `zero`. The last block may be short.
/// REQUIRES: bytes is not empty, block > 0.
std::size_t uniform_prefix(std::span<const std::byte> bytes, std::size_t block,
                           bool& zero) noexcept;

/// For tests and benchmarks: one implementation of is_zero().
struct ZeroScanner {
  std::string_view name;  ///< "avx512", "avx2", "sse2", "scalar"
  bool (*scan)(const std::byte* bytes, std::size_t size) noexcept;
};
/// Those that this CPU can run, widest first; is_zero() uses the first.
std::span<const ZeroScanner> zero_scanners() noexcept;

}  // namespace platter
