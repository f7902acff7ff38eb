// Byte arithmetic: units, alignment, checked sums, and the big-endian integers of image headers.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

namespace platter {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

/// The unit of guest-visible sizes: every image's virtual size is a multiple of it.
inline constexpr std::uint64_t kSectorSize = 512;
/// No file offset may exceed this: off_t is signed.
inline constexpr std::uint64_t kMaxFileSize = std::numeric_limits<std::int64_t>::max();

/// `alignment` is a power of two.
constexpr std::uint64_t align_down(std::uint64_t value, std::uint64_t alignment) noexcept {
  return value & ~(alignment - 1);
}
/// REQUIRES: the result fits, i.e. value <= 2^64 - alignment.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}
constexpr bool is_aligned(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value & (alignment - 1)) == 0;
}

/// a + b, or nothing where it would not fit.
constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
  if (a > std::numeric_limits<std::uint64_t>::max() - b) return std::nullopt;
  return a + b;
}
constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) noexcept {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

/// True if [offset, offset + length) lies within [0, size), without overflow.
constexpr bool in_bounds(std::uint64_t offset, std::uint64_t length, std::uint64_t size) noexcept {
  return offset <= size && length <= size - offset;
}

/// An integer stored big-endian at any alignment: converts on access, so that no half-swapped
/// struct ever exists.
template <class Int>
class BigEndian {
 public:
  BigEndian() = default;
  // Meant to be implicit, both ways.
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr BigEndian(Int value) noexcept : bytes_(std::bit_cast<Bytes>(swap(value))) {}
  constexpr operator Int() const noexcept { return swap(std::bit_cast<Int>(bytes_)); }  // NOLINT

 private:
  using Bytes = std::array<std::uint8_t, sizeof(Int)>;
  static constexpr Int swap(Int value) noexcept {
    if constexpr (std::endian::native == std::endian::big || sizeof(Int) == 1) return value;
    if constexpr (sizeof(Int) == 2) return static_cast<Int>(__builtin_bswap16(value));
    if constexpr (sizeof(Int) == 4) return static_cast<Int>(__builtin_bswap32(value));
    if constexpr (sizeof(Int) == 8) return static_cast<Int>(__builtin_bswap64(value));
  }
  Bytes bytes_;
};
using be16 = BigEndian<std::uint16_t>;
using be32 = BigEndian<std::uint32_t>;
using be64 = BigEndian<std::uint64_t>;
static_assert(sizeof(be64) == 8 && alignof(be64) == 1);

}  // namespace platter
