// Reference counts of host clusters: the refcount table and its blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "formats/qcow2/entry_table.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_cache.h"
#include "formats/qcow2/refcount_width.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Counts as they will be on disk after the next epoch; drops that wait for it are not in them.
/// Host clusters are named by their index. Belongs to its image's ring.
class Refcounts {
 public:
  Refcounts(const Header& header, File& file, MetadataCache& cache);

  Task<void> load();
  EntryTable& table() noexcept { return table_; }
  const EntryTable& table() const noexcept { return table_; }

  unsigned block_bits() const noexcept { return block_bits_; }  ///< log2 of the counts of one block
  std::uint64_t max() const noexcept {
    return with_refcount_width(header_.refcount_order, [](auto width) { return width.kMax; });
  }
  bool has_block(std::uint64_t cluster) const noexcept {
    const std::uint64_t block = cluster >> block_bits_;
    return block < table_.size() && block_offset(block) != 0;
  }

  /// 0 where there is no block. Errors: io, corrupt_image.
  Task<std::uint64_t> get(std::uint64_t cluster);
  /// Adds one to each of `count` clusters. REQUIRES: their blocks exist. Errors: too_large (a count
  /// is at its maximum: then nothing was changed in its slice), io, corrupt_image.
  Task<void> raise(std::uint64_t cluster, std::uint64_t count);
  /// Takes `by` away; returns what is left. Errors: corrupt_image where there is less.
  Task<std::uint64_t> lower(std::uint64_t cluster, std::uint64_t by);

  /// Count number `index` of a slice.
  static std::uint64_t count_at(TableSlice& slice, std::size_t index, unsigned order) noexcept {
    return with_refcount_width(order,
                               [&](auto width) { return width.get(slice.bytes().data(), index); });
  }

  /// A row of counts in memory: those of the clusters [first, end), or none in memory because none
  /// is on disk: all are 0.
  struct Row {
    std::shared_ptr<TableSlice> slice;
    std::uint64_t first = 0;
    std::uint64_t end = 0;
    unsigned order = 4;

    std::uint64_t get(std::uint64_t cluster) const {
      return slice ? count_at(*slice, cluster - first, order) : 0;
    }
  };
  /// The row that holds this cluster's count. Reads ahead.
  Task<Row> row(std::uint64_t cluster);

  /// Makes an empty block, placed at a cluster that nothing on disk refers to, whose count is set.
  /// The block may count its own cluster. `zeroed`: that cluster reads as zeroes already.
  /// REQUIRES: the table has an entry for it, 0; the cluster's count has a block, this or another.
  Task<void> add_block(std::uint64_t block, std::uint64_t at_cluster, bool zeroed);

 private:
  std::uint64_t block_offset(std::uint64_t block) const noexcept;
  void set_count(TableSlice& slice, std::size_t index, std::uint64_t value) const noexcept {
    with_refcount_width(header_.refcount_order,
                        [&](auto width) { width.set(slice.bytes().data(), index, value); });
  }
  Task<std::shared_ptr<TableSlice>> slice_of(std::uint64_t cluster);

  const Header& header_;
  File& file_;
  MetadataCache& cache_;
  EntryTable table_;
  unsigned block_bits_;
  unsigned slice_count_bits_;  // log2 of the counts of one slice
};

}  // namespace platter::qcow2
