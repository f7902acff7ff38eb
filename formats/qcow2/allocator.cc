#include "formats/qcow2/allocator.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// Direct writes that extend a file wait for each other: extend rarely. Costs no space.
constexpr std::uint64_t kExtendMin = 64 * kMiB;
// Space is reserved ahead, since filesystems take long to find it for every cluster: as much as was
// taken already, so that little is wasted.
constexpr std::uint64_t kReserveMin = 1 * kMiB;
constexpr std::uint64_t kReserveMinClusters = 16;
constexpr std::uint64_t kReserveMax = 256 * kMiB;
constexpr std::uint64_t kReserveShare = 8;  // of what is left, one part in so many at most
constexpr std::uint64_t kNever = ~std::uint64_t{0};

}  // namespace

ClusterAllocator::ClusterAllocator(Header& header, File& file, Refcounts& refcounts,
                                   MetadataRegions& regions)
    : header_(header), file_(file), refcounts_(refcounts), regions_(regions) {}

Task<void> ClusterAllocator::start() {
  file_size_ = co_await file_.size();
  old_size_ = file_size_;
  reserves_ = !file_.traits().is_block_device;
  kept_size_ = file_size_;
  const std::uint64_t size = header_.cluster_size();
  // A device holds what it held before.
  fresh_from_ = file_.traits().is_block_device ? kNever : (file_size_ + size - 1) / size;
}

// The index of the first of `count` free clusters in a row.
Task<std::uint64_t> ClusterAllocator::find_free(std::uint64_t count) {
  const std::uint64_t limit = kHostOffsetMax >> header_.cluster_bits;
  std::uint64_t start = next_;
  std::uint64_t at = next_;
  while (at - start < count) {
    if (at >= limit || count > limit - start) {
      co_return fail(ErrorKind::no_space,
                     "'" + file_.name() + "': no free cluster that the format can address");
    }
    const Refcounts::Row row = co_await refcounts_.row(at);
    const std::uint64_t end = std::min(row.end, start + count);
    if (!row.slice) {
      at = std::max(at, end);
      continue;
    }
    for (; at < row.end && at - start < count; ++at) {
      if (row.get(at) != 0) start = at + 1;
    }
  }
  co_return start;
}

Task<ClusterRun> ClusterAllocator::allocate(std::uint64_t count) {
  const auto guard = co_await mutex_.lock();
  std::uint64_t first = 0;
  for (;;) {
    first = co_await find_free(count);
    const bool added = co_await add_missing_block(first, count);
    if (!added) break;  // else the clusters found may be taken
  }
  ClusterRun run{.offset = first << header_.cluster_bits, .count = count};
  const std::uint64_t length = count << header_.cluster_bits;
  if (const auto kind = regions_.find(run.offset, length)) {
    co_return fail(ErrorKind::corrupt_image,
                   fmt::format("'{}': the {} at offset {:#x} is counted as free", file_.name(),
                               to_string(*kind), run.offset));
  }
  co_await extend_to(run.offset + length);
  co_await refcounts_.raise(first, count);
  run.reads_as_zero = take_fresh(first, count);
  next_ = first + count;
  co_return run;
}

Task<ClusterRun> ClusterAllocator::allocate_up_to(std::uint64_t count) {
  for (;;) {
    Result<ClusterRun> run = co_await allocate(count).result();
    const bool no_gap = !run && run.error().kind() == ErrorKind::no_space && count > 1;
    if (!no_gap) co_return std::move(run);
    count /= 2;
  }
}

bool ClusterAllocator::take_fresh(std::uint64_t first, std::uint64_t count) {
  if (fresh_from_ == kNever) return false;
  const bool fresh = first >= fresh_from_;
  // A run that begins before takes fresh clusters, too: they come back with something in them.
  fresh_from_ = std::max(fresh_from_, first + count);
  return fresh;
}

// Makes the first refcount block that the run lacks; false if it lacks none.
Task<bool> ClusterAllocator::add_missing_block(std::uint64_t first, std::uint64_t count) {
  std::uint64_t cluster = first;
  const std::uint64_t per_block = std::uint64_t{1} << refcounts_.block_bits();
  while (cluster < first + count && refcounts_.has_block(cluster)) {
    cluster = align_down(cluster, per_block) + per_block;
  }
  if (cluster >= first + count) co_return false;
  const std::uint64_t block = cluster >> refcounts_.block_bits();
  if (block >= refcounts_.table().size()) {
    co_await grow_table(block);
    co_return true;
  }
  // It goes behind the run that was asked for, as QEMU has it: counted by itself or by an earlier
  // block. One that would need a block of its own first gets that one.
  next_ = first + count;
  const std::uint64_t place = co_await find_free(1);
  if (place >> refcounts_.block_bits() != block && !refcounts_.has_block(place)) {
    const bool recursed = co_await add_missing_block(place, 1);
    // A run that needs several blocks would be left behind by each of them.
    if (count > per_block) next_ = first;
    co_return recursed;
  }
  const std::uint64_t offset = place << header_.cluster_bits;
  if (regions_.find(offset, header_.cluster_size())) {
    co_return fail(
        ErrorKind::corrupt_image,
        fmt::format("'{}': metadata at offset {:#x} is counted as free", file_.name(), offset));
  }
  co_await extend_to(offset + header_.cluster_size());
  const bool zeroed = take_fresh(place, 1);
  co_await refcounts_.add_block(block, place, zeroed);
  regions_.add_cluster(RegionKind::refcount_block, offset);
  // Where nothing of the run was counted yet, QEMU leaves it free and looks further on.
  next_ = cluster > first ? first : place + 1;
  co_return true;
}

// A larger refcount table, behind everything that the old one counts, with the blocks that count
// it and themselves.
Task<void> ClusterAllocator::grow_table(std::uint64_t block) {
  const std::uint64_t cluster_size = header_.cluster_size();
  const std::uint64_t per_block = std::uint64_t{1} << refcounts_.block_bits();
  const std::uint64_t entries_per_cluster = cluster_size / sizeof(std::uint64_t);
  const std::uint64_t begin = refcounts_.table().size() << refcounts_.block_bits();
  std::uint64_t table_clusters = 0;
  std::uint64_t blocks = 0;
  for (;;) {
    const std::uint64_t entries =
        std::max({block + 1, std::uint64_t{refcounts_.table().size()} * 3 / 2,
                  (begin >> refcounts_.block_bits()) + blocks});
    const std::uint64_t wanted = (entries + entries_per_cluster - 1) / entries_per_cluster;
    const std::uint64_t wanted_blocks = (wanted + blocks + per_block - 1) / per_block;
    if (wanted == table_clusters && wanted_blocks == blocks) break;
    table_clusters = std::max(table_clusters, wanted);
    blocks = std::max(blocks, wanted_blocks);
  }
  if ((table_clusters << header_.cluster_bits) > kRefcountTableSizeMax) {
    co_await fail(ErrorKind::no_space,
                  "'" + file_.name() + "': the refcount table can't grow any further");
  }
  co_await extend_to((begin + blocks + table_clusters) << header_.cluster_bits);
  (void)take_fresh(begin, blocks + table_clusters);
  // From here on nothing waits (new slices are in memory): an epoch sees all of it or nothing.
  EntryTable& table = refcounts_.table();
  const std::uint64_t old_offset = table.offset();
  const std::uint64_t old_clusters = header_.refcount_table_clusters;
  const std::uint64_t table_offset = (begin + blocks) << header_.cluster_bits;
  table.relocate(table_offset, table_clusters * entries_per_cluster);
  header_.refcount_table_offset = table_offset;
  header_.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
  regions_.remove_ranges(RegionKind::refcount_table);
  regions_.add_range(RegionKind::refcount_table, table_offset,
                     table_clusters << header_.cluster_bits);
  for (std::uint64_t i = 0; i < old_clusters; ++i) drop(old_offset + (i << header_.cluster_bits));
  for (std::uint64_t i = 0; i < blocks; ++i) {
    // The first block counts itself and those behind it.
    co_await refcounts_.add_block((begin >> refcounts_.block_bits()) + i, begin + i,
                                  /*zeroed=*/false);
    regions_.add_cluster(RegionKind::refcount_block, (begin + i) << header_.cluster_bits);
  }
  co_await refcounts_.raise(begin + blocks, table_clusters);
}

Task<void> ClusterAllocator::extend_to(std::uint64_t end) {
  co_await reserve_to(end);
  if (end <= file_size_) co_return;
  if (file_.traits().is_block_device) {
    co_await fail(ErrorKind::no_space, "'" + file_.name() + "' has no free cluster left");
  }
  const std::uint64_t ahead = align_up(end + std::max(kExtendMin, end / 8), header_.cluster_size());
  Result<void> extended = co_await file_.truncate(ahead).result();
  // A limit on the size of files may be near.
  if (!extended) co_await file_.truncate(end);
  file_size_ = extended ? ahead : end;
}

// Behind what the file had before only. Not needed: a filesystem that can't still takes what is
// written, or says then why it does not. Rarely: those who reserve wait until nobody writes. And
// little where little is left: others need some, so do clusters that were taken before.
Task<void> ClusterAllocator::reserve_to(std::uint64_t end) {
  if (end <= reserved_to_ || !reserves_) co_return;
  const std::uint64_t least = std::max(kReserveMin, kReserveMinClusters << header_.cluster_bits);
  const std::uint64_t taken = end - std::min(end, old_size_);
  if (taken < least) co_return;
  const std::uint64_t left = (co_await file_.space_left()).value_or(0);
  const std::uint64_t ahead = std::min({taken, kReserveMax, left / kReserveShare});
  reserves_ = ahead >= least;
  if (reserves_) co_await reserve(std::max(reserved_to_, std::min(file_size_, end)), end + ahead);
}

// Nobody writes there yet.
Task<void> ClusterAllocator::reserve(std::uint64_t begin, std::uint64_t end) {
  end = align_up(end, header_.cluster_size());
  reserves_ = (co_await file_.allocate(begin, end - begin).result()).has_value();
  if (reserves_) {
    reserved_to_ = end;
    file_size_ = std::max(file_size_, end);
    co_return;
  }
  // A part of it may be reserved all the same, and somebody need it elsewhere. If that can't be given
  // back it is only of no use before these clusters are taken.
  if (begin < file_size_) {
    const std::uint64_t inside = std::min(end, file_size_) - begin;
    (void)co_await file_.write_zeroes(begin, inside, ZeroMode::may_unmap).result();
  }
  (void)co_await file_.truncate(file_size_).result();
  file_size_ = std::max(file_size_, co_await file_.size());
}

Task<void> ClusterAllocator::release_unpublished(ClusterRun run) {
  const std::uint64_t first = index_of(run.offset);
  for (std::uint64_t i = 0; i < run.count; ++i) {
    const std::uint64_t left = co_await refcounts_.lower(first + i, 1);
    if (left != 0) continue;
    next_ = std::min(next_, first + i);
    if (on_free_) on_free_(run.offset + (i << header_.cluster_bits));
  }
}

Task<void> ClusterAllocator::apply(std::vector<Drop> drops) {
  std::ranges::sort(drops, {}, &Drop::cluster);
  std::size_t done = 0;
  Result<void> applied = co_await apply_sorted(drops, done).result();
  if (applied) co_return;
  // A count that is too small already is not lowered. Everything else is for the next time.
  if (applied.error().kind() == ErrorKind::corrupt_image && done < drops.size()) {
    const std::uint64_t cluster = drops[done].cluster;
    while (done < drops.size() && drops[done].cluster == cluster) ++done;
  }
  drops_.insert(drops_.end(), drops.begin() + static_cast<std::ptrdiff_t>(done), drops.end());
  co_await std::move(applied);
}

Task<void> ClusterAllocator::apply_sorted(const std::vector<Drop>& drops, std::size_t& done) {
  co_await give_back_space(drops);
  while (done < drops.size()) {
    const std::uint64_t cluster = drops[done].cluster;
    std::size_t end = done;
    while (end < drops.size() && drops[end].cluster == cluster) ++end;
    const std::uint64_t left = co_await refcounts_.lower(cluster, end - done);
    done = end;
    if (left != 0) continue;
    kept_size_ = 0;
    next_ = std::min(next_, cluster);
    if (on_free_) on_free_(cluster << header_.cluster_bits);
  }
}

// Before the clusters are free: nobody may write to them until the filesystem has let them go.
Task<void> ClusterAllocator::give_back_space(const std::vector<Drop>& drops) {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < drops.size();) {
    const std::uint64_t cluster = drops[i].cluster;
    std::uint64_t references = 0;
    bool unneeded = false;
    for (; i < drops.size() && drops[i].cluster == cluster; ++i, ++references) {
      unneeded = unneeded || drops[i].discard;
    }
    if (!unneeded) continue;
    const std::uint64_t count = co_await refcounts_.get(cluster);
    if (count != references) continue;
    if (cluster != end || begin == end) {
      co_await discard(begin, end - begin);
      begin = cluster;
    }
    end = cluster + 1;
  }
  co_await discard(begin, end - begin);
}

Task<void> ClusterAllocator::discard(std::uint64_t first, std::uint64_t count) {
  const std::uint64_t offset = first << header_.cluster_bits;
  const std::uint64_t length = count << header_.cluster_bits;
  if (count == 0 || regions_.find(offset, length)) co_return;  // a damaged image: better keep it
  co_await file_.discard(offset, length);
}

Task<void> ClusterAllocator::reclaim(std::uint64_t first, std::uint64_t count) {
  next_ = std::min(next_, first);
  kept_size_ = 0;
  return discard(first, count);
}

Task<std::uint64_t> ClusterAllocator::last_used_end() {
  std::uint64_t end = (file_size_ + header_.cluster_size() - 1) >> header_.cluster_bits;
  while (end > 0) {
    const Refcounts::Row row = co_await refcounts_.row(end - 1);
    if (row.slice) {
      for (; end > row.first; --end) {
        if (row.get(end - 1) != 0) co_return end << header_.cluster_bits;
      }
    }
    end = row.first;
  }
  co_return 0;
}

// Behind `used_end` lies what counts that are too small left out, or what a crash left of space taken
// ahead: holes.
Task<std::uint64_t> ClusterAllocator::kept_end(std::uint64_t used_end) {
  constexpr std::size_t kExtentsMax = 16;
  std::uint64_t kept = used_end;
  std::uint64_t at = used_end;
  if (at < kept_size_) {
    for (const Extent& extent : co_await file_.extents(at, kept_size_ - at, kExtentsMax)) {
      at = extent.offset + extent.length;
      if (extent.data) kept = at;
    }
  }
  co_return at < kept_size_ ? kept_size_ : kept;
}

Task<void> ClusterAllocator::trim() {
  if (file_.traits().is_block_device) co_return;
  const std::uint64_t end = co_await kept_end(co_await last_used_end());
  if (end >= file_size_) co_return;
  co_await file_.truncate(end);
  file_size_ = old_size_ = reserved_to_ = end;
  kept_size_ = std::min(kept_size_, end);
  fresh_from_ = end >> header_.cluster_bits;
}

}  // namespace platter::qcow2
