#include "formats/qcow2/refcount_rebuild.h"

#include <algorithm>
#include <vector>

#include "formats/qcow2/header_sector.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"
#include "io/task_group.h"
#include "io/zero.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kWritesAtOnce = 8;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);

struct ClusterRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

// Finds places, all of them before anything is written.
class Layout {
 public:
  explicit Layout(CheckRun& run) : run_(run) {}

  Result<void> make(std::uint64_t snapshot_bytes);
  const std::vector<std::uint64_t>& blocks() const noexcept { return blocks_; }
  const ClusterRun& table() const noexcept { return table_; }
  const ClusterRun& snapshots() const noexcept { return snapshots_; }

 private:
  Result<bool> is_free(std::uint64_t cluster) const;
  Result<void> use(const ClusterRun& clusters);
  void give_up(const ClusterRun& clusters);
  Result<ClusterRun> take_run(std::uint64_t count);
  Result<std::uint64_t> take_near(std::uint64_t cluster);
  Result<bool> add_blocks();

  CheckRun& run_;
  std::vector<std::uint64_t> blocks_;  // cluster of each block; 0: all of its counts are 0
  std::uint64_t first_free_ = 0;       // for single clusters: none below
  ClusterRun table_;
  ClusterRun snapshots_;
};

// Past the last cluster there is room without end, but for places that are referred to already.
Result<bool> Layout::is_free(std::uint64_t cluster) const {
  if (cluster >= run_.outside_begin + run_.outside.size()) {
    return fail(ErrorKind::corrupt_image,
                "the image refers to so much past the end of its file that there is no place for "
                "new refcounts");
  }
  if (run_.is_outside(cluster)) return false;
  return cluster >= run_.clusters || run_.counts.get(cluster) == 0;
}

Result<void> Layout::use(const ClusterRun& clusters) {
  const std::uint64_t end = clusters.first + clusters.count;
  if (auto grown = run_.counts.grow(end + 1); !grown) return grown;
  run_.clusters = std::max(run_.clusters, end);
  for (std::uint64_t i = clusters.first; i < end; ++i) run_.counts.set(i, 1);
  return {};
}

void Layout::give_up(const ClusterRun& clusters) {
  for (std::uint64_t i = 0; i < clusters.count; ++i) run_.counts.set(clusters.first + i, 0);
  if (clusters.count > 0) first_free_ = std::min(first_free_, clusters.first);
}

// The first gap of this size.
Result<ClusterRun> Layout::take_run(std::uint64_t count) {
  ClusterRun found{.first = 0, .count = 0};
  for (std::uint64_t i = 0; found.count < count; ++i) {
    const Result<bool> free = is_free(i);
    if (!free) return fail(free.error().clone());
    if (*free) {
      ++found.count;
    } else {
      found = {.first = i + 1, .count = 0};
    }
  }
  if (auto used = use(found); !used) return fail(std::move(used.error()));
  return found;
}

Result<std::uint64_t> Layout::take_near(std::uint64_t cluster) {
  first_free_ = std::max(first_free_, cluster);
  for (;; ++first_free_) {
    const Result<bool> free = is_free(first_free_);
    if (!free) return fail(free.error().clone());
    if (*free) break;
  }
  if (auto used = use({.first = first_free_, .count = 1}); !used) {
    return fail(std::move(used.error()));
  }
  return first_free_;
}

// Every block that counts something gets a place, best among the clusters that it counts itself.
// False if all had one.
Result<bool> Layout::add_blocks() {
  bool added = false;
  first_free_ = 0;
  for (std::uint64_t block = 0; block * run_.block_counts() < run_.clusters; ++block) {
    if (block >= blocks_.size()) blocks_.resize(block + 1);
    const std::uint64_t first = block * run_.block_counts();
    if (blocks_[block] != 0 || is_zero(run_.counts.bytes(first, run_.block_counts()))) continue;
    const Result<std::uint64_t> place = take_near(first);
    if (!place) return fail(place.error().clone());
    blocks_[block] = *place;
    added = true;
  }
  while (!blocks_.empty() && blocks_.back() == 0) blocks_.pop_back();
  return added;
}

Result<void> Layout::make(std::uint64_t snapshot_bytes) {
  if (snapshot_bytes > 0) {
    auto found = take_run((snapshot_bytes + run_.cluster_size() - 1) >> run_.header.cluster_bits);
    if (!found) return fail(std::move(found.error()));
    snapshots_ = *found;
  }
  for (;;) {
    // A place taken may lie where no block counts yet: again, until all are counted. A block that
    // was added counts itself or lies in one that does.
    Result<bool> added = add_blocks();
    while (added && *added) added = add_blocks();
    if (!added) return fail(std::move(added.error()));
    const std::uint64_t bytes = blocks_.size() * kWord;
    if (bytes > kRefcountTableSizeMax) {
      return fail(ErrorKind::too_large, "the new refcount table would be larger than 8 MiB");
    }
    const std::uint64_t count = (bytes + run_.cluster_size() - 1) >> run_.header.cluster_bits;
    if (count <= table_.count) return {};
    give_up(table_);
    auto found = take_run(count);
    if (!found) return fail(std::move(found.error()));
    table_ = *found;
  }
}

Task<void> write_blocks(CheckRun& run, const Layout& layout) {
  auto write_all = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t block = 0; block < layout.blocks().size() && !group.failed(); ++block) {
      const std::uint64_t cluster = layout.blocks()[block];
      if (cluster == 0) continue;
      co_await group.spawn(
          run.file.write(cluster << run.header.cluster_bits,
                         run.counts.bytes(block * run.block_counts(), run.block_counts())));
    }
  };
  co_await with_group(kWritesAtOnce, write_all);
}

Task<void> write_padded(CheckRun& run, const ClusterRun& place, std::span<const std::byte> bytes) {
  std::vector<std::byte> padded(place.count << run.header.cluster_bits);
  std::ranges::copy(bytes, padded.begin());
  co_await run.file.write(place.first << run.header.cluster_bits, padded);
}

}  // namespace

Task<void> rebuild_refcounts(CheckRun& run, std::span<const std::byte> snapshot_table) {
  Layout layout(run);
  co_await layout.make(snapshot_table.size());
  std::vector<std::uint64_t> table;
  for (const std::uint64_t cluster : layout.blocks()) {
    table.push_back(cluster << run.header.cluster_bits);
  }
  std::vector<std::byte> on_disk(table.size() * kWord);
  for (std::size_t i = 0; i < table.size(); ++i) set_table_word(on_disk, i, table[i]);

  co_await write_blocks(run, layout);
  co_await write_padded(run, layout.table(), on_disk);
  if (!snapshot_table.empty()) co_await write_padded(run, layout.snapshots(), snapshot_table);

  Header changed = run.header;
  changed.refcount_table_offset = layout.table().first << run.header.cluster_bits;
  changed.refcount_table_clusters = static_cast<std::uint32_t>(layout.table().count);
  if (!snapshot_table.empty()) {
    changed.snapshots_offset = layout.snapshots().first << run.header.cluster_bits;
    changed.snapshot_count = static_cast<std::uint32_t>(run.snapshots.entries.size());
  }
  co_await change_header(run.file, [&](DiskHeader& disk) {
    disk.refcount_table_offset = changed.refcount_table_offset;
    disk.refcount_table_clusters = changed.refcount_table_clusters;
    disk.snapshots_offset = changed.snapshots_offset;
    disk.nb_snapshots = changed.snapshot_count;
  });
  run.header = std::move(changed);
  run.refcount_table = std::move(table);
  run.refcount_table.resize((layout.table().count << run.header.cluster_bits) / kWord);
  run.file_size = align_up(co_await run.file.size(), kSectorSize);
}

}  // namespace platter::qcow2
