#include "formats/qcow2/create_layout.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "formats/qcow2/format.h"
#include "io/bytes.h"
#include "io/check.h"

namespace platter::qcow2 {
namespace {

// QEMU's cache holds L2 tables in slices of so many bytes; it allocates clusters for one at a time.
constexpr std::uint64_t kSliceSize = 64 * kKiB;

class Planner {
 public:
  Planner(const Header& header, Preallocation preallocation)
      : header_(header),
        preallocation_(preallocation),
        allocator_(header.cluster_bits, header.refcount_order) {}

  Result<Layout> plan();

 private:
  std::uint64_t cluster_size() const noexcept { return header_.cluster_size(); }
  std::uint64_t clusters_of(std::uint64_t bytes) const noexcept {
    return (bytes >> header_.cluster_bits) + ((bytes & (cluster_size() - 1)) != 0);
  }
  std::uint64_t slice_entries() const noexcept {
    return std::min(kSliceSize, cluster_size()) / header_.l2_entry_size();
  }
  Result<void> place_l1();
  Result<void> place_l2(std::uint64_t guest_cluster);
  Result<void> place_l2_tables();
  Result<void> map_as_written();
  void place_tail(std::uint64_t end);
  Result<std::uint64_t> map_some(std::uint64_t guest, std::uint64_t length);
  Result<void> map_in_one_area();
  Result<ClusterSet::Run> take(std::optional<std::uint64_t> at, std::uint64_t count);
  void add_data(std::uint64_t guest_cluster, std::uint64_t host_cluster, std::uint64_t count);
  void finish();
  std::uint64_t metadata_end() const;

  const Header& header_;
  Preallocation preallocation_;
  LayoutAllocator allocator_;
  Layout layout_;
  std::uint64_t data_end_ = 0;  // bytes
};

Result<Layout> Planner::plan() {
  Result<void> done = place_l1();
  const bool in_one_area =
      preallocation_ == Preallocation::falloc || preallocation_ == Preallocation::full;
  if (done && preallocation_ != Preallocation::off) {
    done = in_one_area && !header_.has_data_file() ? map_in_one_area() : map_as_written();
  }
  if (!done) return fail(std::move(done.error()));
  finish();
  return std::move(layout_);
}

Result<void> Planner::place_l1() {
  const unsigned covered_bits = header_.cluster_bits + header_.l2_bits();
  const std::uint64_t covered = std::uint64_t{1} << covered_bits;
  const std::uint64_t entries =
      (header_.size >> covered_bits) + ((header_.size & (covered - 1)) != 0);
  if (entries > kL1SizeMax / sizeof(std::uint64_t)) {
    return fail(ErrorKind::too_large, "the image's L1 table would be larger than qcow2 allows");
  }
  layout_.l1_size = static_cast<std::uint32_t>(entries);
  if (entries == 0) return {};
  const Result<std::uint64_t> first =
      allocator_.allocate(clusters_of(entries * sizeof(std::uint64_t)));
  if (!first) return fail(first.error().clone());
  layout_.l1_cluster = *first;
  return {};
}

// The L2 table of this guest cluster, if it has none yet; tables are asked for in order.
Result<void> Planner::place_l2(std::uint64_t guest_cluster) {
  if (guest_cluster >> header_.l2_bits() < layout_.l2_tables.size()) return {};
  const Result<std::uint64_t> table = allocator_.allocate(1);
  if (!table) return fail(table.error().clone());
  layout_.l2_tables.push_back(*table);
  return {};
}

// As a guest's write of the whole disk would: each L2 table before the clusters that it maps.
Result<void> Planner::map_as_written() {
  if (header_.has_data_file()) {
    place_tail(header_.size);
    return place_l2_tables();
  }
  const std::uint64_t at_once =
      align_down(std::numeric_limits<std::int32_t>::max(), cluster_size());
  for (std::uint64_t guest = 0; guest < header_.size;) {
    const Result<std::uint64_t> done = map_some(guest, std::min(header_.size - guest, at_once));
    if (!done) return fail(done.error().clone());
    guest += *done;
  }
  place_tail(data_end_);
  return {};
}

// A write fills the cluster, or the subcluster, that the disk ends in.
void Planner::place_tail(std::uint64_t end) {
  const std::uint64_t unit = cluster_size() / (header_.extended_l2() ? kSubclusters : 1);
  layout_.tail_begin = end;
  layout_.tail_end = align_up(end, unit);
  if (!header_.has_data_file()) data_end_ = layout_.tail_end;
}

// What they map lies in another file.
Result<void> Planner::place_l2_tables() {
  for (std::uint64_t i = 0; i < layout_.l1_size; ++i) {
    if (auto placed = place_l2(i << header_.l2_bits()); !placed) return placed;
  }
  return {};
}

// Maps bytes from `guest` on to clusters in a row, for as long as these are free; returns how many
// bytes.
Result<std::uint64_t> Planner::map_some(std::uint64_t guest, std::uint64_t length) {
  std::optional<std::uint64_t> next;
  std::uint64_t done = 0;
  while (done < length) {
    const std::uint64_t guest_cluster = (guest + done) >> header_.cluster_bits;
    if (auto placed = place_l2(guest_cluster); !placed) return fail(std::move(placed.error()));
    const std::uint64_t in_slice = slice_entries() - guest_cluster % slice_entries();
    const std::uint64_t wanted = std::min(clusters_of(length - done), in_slice);
    const Result<ClusterSet::Run> run = take(next, wanted);
    if (!run) return fail(run.error().clone());
    const std::uint64_t count = run->end - run->first;
    if (count == 0) break;
    add_data(guest_cluster, run->first, count);
    next = run->end;
    const std::uint64_t bytes = std::min(length - done, count << header_.cluster_bits);
    data_end_ = (run->first << header_.cluster_bits) + bytes;
    done += bytes;
  }
  return done;
}

// `count` clusters anywhere, or as many of them as are free at a place.
Result<ClusterSet::Run> Planner::take(std::optional<std::uint64_t> at, std::uint64_t count) {
  Result<std::uint64_t> taken =
      at ? allocator_.allocate_at(*at, count) : allocator_.allocate(count);
  if (!taken) return fail(std::move(taken.error()));
  if (at) return ClusterSet::Run{*at, *at + *taken};
  return ClusterSet::Run{*taken, *taken + count};
}

void Planner::add_data(std::uint64_t guest_cluster, std::uint64_t host_cluster,
                       std::uint64_t count) {
  if (!layout_.data.empty()) {
    DataRun& last = layout_.data.back();
    if (last.host_cluster + last.count == host_cluster) {
      last.count += count;
      return;
    }
  }
  layout_.data.push_back({guest_cluster, host_cluster, count});
}

// Refcounts for all of it first, then all data in a row, so that it can be reserved at once; L2
// tables where there is room.
Result<void> Planner::map_in_one_area() {
  const std::uint64_t clusters = clusters_of(header_.size);
  const std::uint64_t tables = clusters_of(clusters * header_.l2_entry_size()) + 1;
  const Result<std::uint64_t> first = allocator_.make_refcount_area(clusters + tables);
  if (!first) return fail(first.error().clone());
  const Result<std::uint64_t> taken = allocator_.allocate_at(*first, clusters);
  if (!taken) return fail(taken.error().clone());
  PLATTER_CHECK(*taken == clusters);  // nothing lies behind the area
  if (clusters > 0) add_data(0, *first, clusters);
  layout_.reserve_begin = *first << header_.cluster_bits;
  layout_.reserve_end = (*first + clusters) << header_.cluster_bits;
  data_end_ = layout_.reserve_end;
  return place_l2_tables();
}

void Planner::finish() {
  layout_.refcount_table_cluster = allocator_.table_cluster();
  layout_.refcount_blocks = allocator_.table();
  layout_.used = allocator_.used();
  layout_.abandoned = allocator_.abandoned();
  layout_.file_size = std::max(metadata_end(), data_end_);
}

// Tables are written in whole clusters, the L1 table as long as it is.
std::uint64_t Planner::metadata_end() const {
  const auto end_of = [&](std::uint64_t cluster, std::uint64_t count) {
    return count == 0 ? 0 : (cluster + count) << header_.cluster_bits;
  };
  std::uint64_t end = end_of(allocator_.table_cluster(), allocator_.table_clusters());
  for (const std::uint64_t block : layout_.refcount_blocks) {
    if (block != 0) end = std::max(end, end_of(block, 1));
  }
  for (const std::uint64_t table : layout_.l2_tables) end = std::max(end, end_of(table, 1));
  const std::uint64_t l1_bytes = layout_.l1_size * sizeof(std::uint64_t);
  return std::max(end, (layout_.l1_cluster << header_.cluster_bits) + l1_bytes);
}

}  // namespace

Result<Layout> plan_layout(const Header& header, Preallocation preallocation) {
  Planner planner(header, preallocation);
  return planner.plan();
}

}  // namespace platter::qcow2
