#include "formats/qcow2/refcounts.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kReadAhead = 256 * kKiB;

}  // namespace

Refcounts::Refcounts(const Header& header, File& file, MetadataCache& cache)
    : header_(header),
      file_(file),
      cache_(cache),
      table_(cache.slice_size()),
      block_bits_(header.cluster_bits + 3 - header.refcount_order),
      slice_count_bits_(static_cast<unsigned>(std::countr_zero(cache.slice_size())) + 3 -
                        header.refcount_order) {}

Task<void> Refcounts::load() {
  const std::size_t entries =
      (std::size_t{header_.refcount_table_clusters} << header_.cluster_bits) /
      sizeof(std::uint64_t);
  co_await table_.load(file_, header_.refcount_table_offset, entries, "refcount table");
  for (std::size_t i = 0; i < table_.size(); ++i) {
    const std::uint64_t at = block_offset(i);
    if (is_aligned(at, header_.cluster_size()) && at <= kMaxFileSize - header_.cluster_size()) {
      continue;
    }
    co_await fail(ErrorKind::corrupt_image,
                  fmt::format("'{}': refcount block offset {:#x} (table index {}) is not possible",
                              file_.name(), at, i));
  }
}

std::uint64_t Refcounts::block_offset(std::uint64_t block) const noexcept {
  return table_[block] & kRefcountTableOffsetMask;
}

Task<std::shared_ptr<TableSlice>> Refcounts::slice_of(std::uint64_t cluster) {
  const std::uint64_t in_block = cluster & ((std::uint64_t{1} << block_bits_) - 1);
  const std::uint64_t at =
      block_offset(cluster >> block_bits_) + (in_block >> slice_count_bits_) * cache_.slice_size();
  return cache_.get(at, TableKind::refcount_block);
}

Task<std::uint64_t> Refcounts::get(std::uint64_t cluster) {
  if (!has_block(cluster)) co_return 0;
  const auto slice = co_await slice_of(cluster);
  const std::uint64_t mask = (std::uint64_t{1} << slice_count_bits_) - 1;
  co_return count_at(*slice, cluster & mask, header_.refcount_order);
}

Task<Refcounts::Row> Refcounts::row(std::uint64_t cluster) {
  Row row{.order = header_.refcount_order};
  if (!has_block(cluster)) {
    row.first = align_down(cluster, std::uint64_t{1} << block_bits_);
    row.end = row.first + (std::uint64_t{1} << block_bits_);
    co_return row;
  }
  row.first = align_down(cluster, std::uint64_t{1} << slice_count_bits_);
  row.end = row.first + (std::uint64_t{1} << slice_count_bits_);
  if (cluster == row.first) {
    // A search goes on from here: the rest of the block will be wanted, too.
    const std::uint64_t in_block = cluster & ((std::uint64_t{1} << block_bits_) - 1);
    const std::uint64_t at = (in_block >> slice_count_bits_) * cache_.slice_size();
    if (is_aligned(at, kReadAhead)) {
      co_await cache_.prefetch(block_offset(cluster >> block_bits_) + at,
                               std::min(kReadAhead, header_.cluster_size() - at),
                               TableKind::refcount_block);
    }
  }
  row.slice = co_await slice_of(cluster);
  co_return row;
}

Task<void> Refcounts::raise(std::uint64_t cluster, std::uint64_t count) {
  const std::uint64_t per_slice = std::uint64_t{1} << slice_count_bits_;
  const unsigned order = header_.refcount_order;
  while (count > 0) {
    const auto slice = co_await slice_of(cluster);
    const std::uint64_t first = cluster & (per_slice - 1);
    const std::uint64_t last = std::min(per_slice, first + count);
    for (std::uint64_t i = first; i < last; ++i) {
      if (count_at(*slice, i, order) < max()) continue;
      co_await fail(ErrorKind::too_large,
                    fmt::format("'{}': the reference count of the cluster at offset {:#x} is at "
                                "its maximum",
                                file_.name(), (cluster + i - first) << header_.cluster_bits));
    }
    for (std::uint64_t i = first; i < last; ++i) {
      const std::uint64_t before = count_at(*slice, i, order);
      set_count(*slice, i, before + 1);
    }
    cache_.mark_dirty(*slice);
    cluster += last - first;
    count -= last - first;
  }
}

Task<std::uint64_t> Refcounts::lower(std::uint64_t cluster, std::uint64_t by) {
  std::shared_ptr<TableSlice> slice;
  if (has_block(cluster)) slice = co_await slice_of(cluster);
  const std::uint64_t index = cluster & ((std::uint64_t{1} << slice_count_bits_) - 1);
  const std::uint64_t before = slice ? count_at(*slice, index, header_.refcount_order) : 0;
  if (before < by) {
    co_return fail(ErrorKind::corrupt_image,
                   fmt::format("'{}': the cluster at offset {:#x} has more references than its "
                               "reference count of {}",
                               file_.name(), cluster << header_.cluster_bits, before));
  }
  set_count(*slice, index, before - by);
  cache_.mark_dirty(*slice);
  co_return before - by;
}

Task<void> Refcounts::add_block(std::uint64_t block, std::uint64_t at_cluster, bool zeroed) {
  const std::uint64_t offset = at_cluster << header_.cluster_bits;
  const bool own = at_cluster >> block_bits_ == block;
  std::shared_ptr<TableSlice> other;
  if (!own) other = co_await slice_of(at_cluster);
  // From here on without an await: an epoch sees all of it or nothing.
  cache_.forget(offset, header_.cluster_size());
  const std::uint64_t in_block = at_cluster & ((std::uint64_t{1} << block_bits_) - 1);
  const std::uint64_t own_slice = offset + (in_block >> slice_count_bits_) * cache_.slice_size();
  for (std::uint64_t at = offset; at < offset + header_.cluster_size(); at += cache_.slice_size()) {
    if (zeroed && !(own && at == own_slice)) continue;
    auto slice = cache_.add_zeroed(at, TableKind::refcount_block, /*fresh=*/false);
    if (own && at == own_slice) other = std::move(slice);
  }
  const std::uint64_t index = at_cluster & ((std::uint64_t{1} << slice_count_bits_) - 1);
  set_count(*other, index, 1);
  cache_.mark_dirty(*other);
  table_.set(block, offset);
}

}  // namespace platter::qcow2
