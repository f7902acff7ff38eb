// Reference counts of every width, as they lie on disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "formats/qcow2/format.h"
#include "io/check.h"

namespace platter::qcow2 {

/// Section "Refcount blocks": counts of 1 << kOrder bits. Those below a byte fill it from its
/// lowest bits up; those above are big-endian.
template <unsigned kOrder>
struct RefcountWidth {
  static constexpr unsigned kBits = 1U << kOrder;
  static constexpr std::uint64_t kMax = ~std::uint64_t{0} >> (64 - kBits);

  static std::uint64_t get(const std::byte* counts, std::uint64_t index) noexcept {
    if constexpr (kOrder < 3) {
      constexpr unsigned kPerByte = 8 / kBits;
      const auto byte = std::to_integer<unsigned>(counts[index / kPerByte]);
      return (byte >> (index % kPerByte * kBits)) & kMax;
    } else if constexpr (kOrder == 3) {
      return std::to_integer<std::uint64_t>(counts[index]);
    } else {
      Stored stored;
      std::memcpy(&stored, counts + index * sizeof stored, sizeof stored);
      return stored;
    }
  }
  static void set(std::byte* counts, std::uint64_t index, std::uint64_t value) noexcept {
    if constexpr (kOrder < 3) {
      constexpr unsigned kPerByte = 8 / kBits;
      const auto shift = static_cast<unsigned>(index % kPerByte * kBits);
      std::byte& byte = counts[index / kPerByte];
      byte = (byte & ~std::byte(kMax << shift)) | std::byte(value << shift);
    } else if constexpr (kOrder == 3) {
      counts[index] = static_cast<std::byte>(value);
    } else {
      const Stored stored = static_cast<Int>(value);
      std::memcpy(counts + index * sizeof stored, &stored, sizeof stored);
    }
  }

 private:
  using Int = std::conditional_t<kOrder == 6, std::uint64_t,
                                 std::conditional_t<kOrder == 5, std::uint32_t, std::uint16_t>>;
  using Stored = BigEndian<Int>;
};

/// Calls `body(RefcountWidth<order>())`, so that a loop in it is compiled for each width.
/// REQUIRES: order <= kRefcountOrderMax.
template <class Body>
decltype(auto) with_refcount_width(unsigned order, Body&& body) {
  switch (order) {
    case 0: return std::forward<Body>(body)(RefcountWidth<0>());
    case 1: return std::forward<Body>(body)(RefcountWidth<1>());
    case 2: return std::forward<Body>(body)(RefcountWidth<2>());
    case 3: return std::forward<Body>(body)(RefcountWidth<3>());
    case 4: return std::forward<Body>(body)(RefcountWidth<4>());
    case 5: return std::forward<Body>(body)(RefcountWidth<5>());
    default: PLATTER_CHECK(order == 6); return std::forward<Body>(body)(RefcountWidth<6>());
  }
}

}  // namespace platter::qcow2
