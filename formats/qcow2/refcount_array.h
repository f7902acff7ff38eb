// Reference counts in memory, one for each host cluster, as they lie on disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "formats/qcow2/refcount_width.h"
#include "io/check.h"
#include "io/error.h"

namespace platter::qcow2 {

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
