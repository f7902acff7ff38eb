// Reference counts in memory, one for each host cluster, as they lie on disk.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <utility>

#include "formats/qcow2/format.h"
#include "io/check.h"
#include "io/error.h"

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

/// One count for each cluster from 0 on. Memory is taken where something is written, so that a
/// sparse file's array is sparse too. Any thread, one at a time.
class RefcountArray {
 public:
  RefcountArray() = default;
  ~RefcountArray();
  RefcountArray(RefcountArray&& other) noexcept { swap(other); }
  RefcountArray& operator=(RefcountArray&& other) noexcept {
    RefcountArray(std::move(other)).swap(*this);
    return *this;
  }

  /// All zero. Errors: out_of_memory; too_large (more than `memory_max` bytes).
  static Result<RefcountArray> create(unsigned order, std::uint64_t clusters,
                                      std::uint64_t memory_max);
  /// Adds clusters with counts of zero. Errors: as create().
  Result<void> grow(std::uint64_t clusters);
  /// Sets every count to zero and gives the memory back.
  void clear() noexcept;

  unsigned order() const noexcept { return order_; }
  std::uint64_t size() const noexcept { return clusters_; }
  std::byte* data() const noexcept { return data_; }
  /// The bytes of `count` counts from `first` on, in the format of a refcount block; what lies past
  /// size() is zero. REQUIRES: `first` and `count` fill whole bytes, and the run ends at most one
  /// refcount block of the largest cluster (2 MiB) past size().
  std::span<std::byte> bytes(std::uint64_t first, std::uint64_t count) const noexcept {
    return {data_ + (first << order_) / 8, (count << order_) / 8};
  }

  /// REQUIRES: cluster < size().
  std::uint64_t get(std::uint64_t cluster) const noexcept {
    return with_refcount_width(order_, [&](auto width) { return width.get(data_, cluster); });
  }
  void set(std::uint64_t cluster, std::uint64_t count) noexcept {
    with_refcount_width(order_, [&](auto width) { width.set(data_, cluster, count); });
  }
  /// Counts `references` more; returns how many of them found no room.
  std::uint64_t add(std::uint64_t cluster, std::uint64_t references) noexcept {
    return with_refcount_width(
        order_, [&](auto width) { return add_to(width, data_, cluster, references); });
  }
  template <class Width>
  static std::uint64_t add_to(Width width, std::byte* counts, std::uint64_t cluster,
                              std::uint64_t references) noexcept {
    const std::uint64_t count = width.get(counts, cluster);
    const std::uint64_t room = Width::kMax - count;
    const std::uint64_t taken = references < room ? references : room;
    width.set(counts, cluster, count + taken);
    return references - taken;
  }

 private:
  void swap(RefcountArray& other) noexcept {
    std::swap(order_, other.order_);
    std::swap(clusters_, other.clusters_);
    std::swap(data_, other.data_);
    std::swap(mapped_, other.mapped_);
    std::swap(memory_max_, other.memory_max_);
  }

  unsigned order_ = 4;
  std::uint64_t clusters_ = 0;
  std::byte* data_ = nullptr;
  std::size_t mapped_ = 0;
  std::uint64_t memory_max_ = 0;
};

}  // namespace platter::qcow2
