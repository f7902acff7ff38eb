#include "formats/qcow2/snapshots.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kEntry = sizeof(std::uint64_t);

// Flags are the active table's business.
std::vector<std::byte> encode_l1(std::span<const std::uint64_t> l1) {
  std::vector<std::byte> bytes(l1.size() * kEntry);
  for (std::size_t i = 0; i < l1.size(); ++i) {
    set_table_word(bytes, i, L1Entry::make(L1Entry(l1[i]).offset(), /*copied=*/false).raw());
  }
  return bytes;
}

Task<void> in_context(Task<void> task, std::string_view context) {
  Result<void> result = co_await std::move(task).result();
  if (!result) co_await fail(std::move(result.error()).with_context(context));
}

}  // namespace

ReferredRun Snapshots::clusters_of(std::uint64_t offset, std::uint64_t size) const noexcept {
  const std::uint64_t first = offset >> w_.header.cluster_bits;
  return {first, (size + w_.header.cluster_size() - 1) >> w_.header.cluster_bits};
}

// What is in memory goes to the disk, which is changed below the cache from now on.
Task<void> Snapshots::settle() {
  do {
    co_await w_.epochs.commit();
  } while (w_.epochs.has_changes());
  w_.cache.forget_all();
}

Task<void> Snapshots::begin() {
  co_await w_.epochs.check_usable();
  if (w_.header.has_data_file()) {
    co_await fail(ErrorKind::unsupported,
                  "an image with an external data file has no internal snapshots");
  }
  co_await settle();
}

Task<ClusterRun> Snapshots::take(std::uint64_t size) {
  if (size == 0) co_return ClusterRun();
  co_return co_await w_.allocator.allocate(clusters_of(0, size).count);
}

// What can't be given back is counted and not used, no more.
Task<void> Snapshots::give_up(Space space) {
  if (w_.epochs.failure()) co_return;
  if (!w_.cache.has_dirty()) w_.cache.forget_all();
  for (const ClusterRun& run : {space.l1, space.table}) {
    if (run.count > 0) (void)co_await w_.allocator.release_unpublished(run).result();
  }
}

Task<void> Snapshots::write_new(ClusterRun run, std::span<const std::byte> bytes) {
  if (run.count == 0) co_return;
  co_await write_new_table(w_.file, run.offset, bytes, w_.header.cluster_size());
}

Task<void> Snapshots::check_counted(std::uint64_t offset, std::uint64_t size) {
  const ReferredRun clusters = clusters_of(offset, size);
  for (std::uint64_t i = 0; i < clusters.count; ++i) {
    const std::uint64_t count = co_await w_.refcounts.get(clusters.first + i);
    if (count > 0) continue;
    co_await fail(ErrorKind::corrupt_image,
                  fmt::format("'{}': the snapshot table at offset {:#x} is counted as free",
                              w_.file.name(), offset));
  }
}

Task<void> Snapshots::publish_table(ClusterRun run, std::uint32_t count) {
  Header& header = w_.header;
  const auto old = std::pair(header.snapshots_offset, header.snapshot_count);
  header.snapshots_offset = run.offset;
  header.snapshot_count = count;
  Result<void> written = co_await w_.epochs.write_header_now().result();
  if (!written) std::tie(header.snapshots_offset, header.snapshot_count) = old;
  co_await std::move(written);
  w_.regions.remove_ranges(RegionKind::snapshot_table);
  w_.regions.add_range(RegionKind::snapshot_table, run.offset, run.count << header.cluster_bits);
}

// --- create

Task<void> Snapshots::create(NewSnapshot wanted) {
  RangeLock::Guard everything(w_.writer.locks(), 0, kMaxFileSize, /*exclusive=*/true);
  co_await everything.acquired();
  co_await begin();
  Space space;
  Result<void> done = co_await create_in(space, std::move(wanted)).result();
  if (!done) co_await give_up(space);
  co_await std::move(done);
}

Task<void> Snapshots::create_in(Space& space, NewSnapshot wanted) {
  Header& header = w_.header;
  SnapshotTable table = co_await read_snapshots(header, w_.file);
  const ReferredRun old_table = clusters_of(header.snapshots_offset, table.size);
  co_await check_counted(header.snapshots_offset, table.size);
  Snapshot snapshot{.id = co_await next_snapshot_id(table.snapshots)};
  snapshot.name = std::move(wanted.name);
  snapshot.l1_size = header.l1_size;
  snapshot.date_sec = wanted.date_sec;
  snapshot.date_nsec = wanted.date_nsec;
  snapshot.disk_size = header.size;
  snapshot.icount = 0;  // as qemu-img has it
  table.snapshots.push_back(std::move(snapshot));
  std::vector<std::byte> bytes = co_await encode_snapshots(table.snapshots);
  Referrer referrer{.tree = co_await TableTree::make(header, active(), w_.file.name())};
  // Where counts are wrong what is free is not known, either.
  co_await references_.verify(referrer, Change::raise, cancel_);
  const std::uint64_t l1_size = header.l1_size * kEntry;
  space.l1 = co_await take(l1_size);
  space.table = co_await take(bytes.size());
  table.snapshots.back().l1_table_offset = space.l1.offset;
  bytes = co_await encode_snapshots(table.snapshots);
  co_await settle();

  co_await references_.verify(referrer, Change::raise, cancel_);
  co_await write_new(space.l1, encode_l1(active()));
  co_await write_new(space.table, bytes);
  co_await clear_active_copied(referrer.tree);
  co_await references_.apply(referrer, Change::raise);
  const Space published = std::exchange(space, {});
  co_await publish_table(published.table, static_cast<std::uint32_t>(table.snapshots.size()));
  w_.regions.add_range(RegionKind::inactive_l1, published.l1.offset, l1_size);
  for (std::uint64_t i = 0; i < old_table.count; ++i) {
    w_.allocator.drop((old_table.first + i) << header.cluster_bits, /*discard=*/true);
  }
  co_await settle();
}

Task<void> Snapshots::clear_active_copied(const TableTree& tree) {
  co_await references_.clear_copied(tree);
  EntryTable& l1 = w_.map.l1();
  for (std::size_t i = 0; i < l1.size(); ++i) {
    const L1Entry entry(l1[i]);
    if (entry.copied()) l1.set(i, L1Entry::make(entry.offset(), /*copied=*/false).raw());
  }
  co_await w_.epochs.commit();
}

// --- remove

Task<void> Snapshots::remove(SnapshotKey key) {
  if (w_.header.has_data_file()) co_await fail(ErrorKind::not_found, "snapshot not found");
  RangeLock::Guard everything(w_.writer.locks(), 0, kMaxFileSize, /*exclusive=*/true);
  co_await everything.acquired();
  co_await begin();
  Space space;
  Result<void> done = co_await remove_in(space, std::move(key)).result();
  if (!done) co_await give_up(space);
  co_await std::move(done);
}

Task<void> Snapshots::remove_in(Space& space, SnapshotKey key) {
  Header& header = w_.header;
  SnapshotTable table = co_await read_snapshots(header, w_.file);
  const Snapshot* const found = find_snapshot(table.snapshots, key);
  if (found == nullptr) co_await fail(ErrorKind::not_found, "snapshot not found");
  const std::uint64_t l1_offset = found->l1_table_offset;
  const std::uint32_t l1_size = found->l1_size;
  table.snapshots.erase(table.snapshots.begin() + (found - table.snapshots.data()));
  const std::vector<std::byte> bytes = co_await encode_snapshots(table.snapshots);
  EntryTable l1(kSectorSize);
  co_await l1.load(w_.file, l1_offset, l1_size, "L1 table of the snapshot");
  Referrer removed{.tree = co_await TableTree::make(header, l1.entries(), w_.file.name())};
  co_await check_tables(removed.tree);
  removed.others = {clusters_of(l1_offset, l1_size * kEntry),
                    clusters_of(header.snapshots_offset, table.size)};
  co_await references_.verify(removed, Change::lower, cancel_);
  if (!bytes.empty()) {
    space.table = co_await take(bytes.size());
    co_await settle();
    co_await references_.verify(removed, Change::lower, cancel_);
  }

  co_await write_new(space.table, bytes);
  co_await w_.epochs.commit();
  const ClusterRun published = std::exchange(space, {}).table;
  co_await publish_table(published, static_cast<std::uint32_t>(table.snapshots.size()));
  w_.regions.remove_range(RegionKind::inactive_l1, l1_offset);
  co_await in_context(drop_removed(removed),
                      "the snapshot is deleted, but not all of its space was given back");
}

Task<void> Snapshots::drop_removed(Referrer& removed) {
  co_await references_.apply(removed, Change::lower);
  w_.writer.forget_compressed_place();
  const TableTree tree = co_await TableTree::make(w_.header, active(), w_.file.name());
  co_await references_.refresh_copied(tree, w_.map.l1());
  co_await settle();
}

// --- apply

Task<void> Snapshots::apply(SnapshotKey key) {
  RangeLock::Guard everything(w_.writer.locks(), 0, kMaxFileSize, /*exclusive=*/true);
  co_await everything.acquired();
  if (!w_.bitmaps.empty()) {
    co_await fail(ErrorKind::unsupported, "Device has active dirty bitmaps");
  }
  // Those that were removed are gone from the disk before it holds something else.
  co_await w_.bitmaps.save();
  co_await begin();
  Space space;
  Result<void> done = co_await apply_in(space, std::move(key)).result();
  if (!done) co_await give_up(space);
  co_await std::move(done);
}

Task<void> Snapshots::apply_in(Space& space, SnapshotKey key) {
  const Header& header = w_.header;
  const SnapshotTable table = co_await read_snapshots(header, w_.file);
  const Snapshot* const found = find_snapshot(table.snapshots, key);
  if (found == nullptr) co_await fail(ErrorKind::not_found, "snapshot not found");
  const std::uint64_t size = found->disk_size;
  std::vector<std::uint64_t> l1 = co_await l1_to_apply(*found);
  Referrer shown{.tree = co_await TableTree::make(header, l1, w_.file.name())};
  co_await check_tables(shown.tree);
  if (shown.tree.has_duplicates()) {
    co_await fail(ErrorKind::corrupt_image,
                  "'" + w_.file.name() + "': the snapshot uses an L2 table in two places");
  }
  Referrer replaced{.tree = co_await TableTree::make(header, active(), w_.file.name())};
  replaced.others = {clusters_of(header.l1_table_offset, header.l1_size * kEntry)};
  co_await references_.verify(replaced, Change::lower, cancel_);
  co_await references_.verify(shown, Change::raise, cancel_);
  space.l1 = co_await take(l1.size() * kEntry);
  co_await settle();

  co_await references_.verify(shown, Change::raise, cancel_);
  co_await write_new(space.l1, encode_l1(l1));
  co_await references_.clear_copied(shown.tree);
  co_await w_.epochs.commit();
  co_await references_.apply(shown, Change::raise);
  const ClusterRun published = std::exchange(space, {}).l1;
  co_await switch_to(published, std::move(l1), size);
  w_.regions.replace_clusters(RegionKind::active_l2,
                              {shown.tree.tables().begin(), shown.tree.tables().end()});
  co_await in_context(drop_replaced(replaced, shown.tree),
                      "the snapshot is applied, but not all of the space of what it replaced was "
                      "given back");
}

// The entries of an active table that shows the snapshot.
Task<std::vector<std::uint64_t>> Snapshots::l1_to_apply(Snapshot snapshot) {
  const std::uint64_t size = snapshot.disk_size;
  const std::uint64_t covered = std::uint64_t{1} << w_.map.table_bits();
  const std::uint64_t needed = size / covered + (size % covered != 0 ? 1 : 0);
  const std::uint64_t count = std::max({needed, std::uint64_t{snapshot.l1_size}, std::uint64_t{1}});
  if (size > kMaxFileSize || !is_aligned(size, kSectorSize) || count > kL1SizeMax / kEntry) {
    co_return fail(ErrorKind::corrupt_image,
                   fmt::format("'{}': the disk size {} of snapshot '{}' is not possible",
                               w_.file.name(), size, snapshot.name));
  }
  EntryTable l1(kSectorSize);
  co_await l1.load(w_.file, snapshot.l1_table_offset, snapshot.l1_size, "L1 table of the snapshot");
  std::vector<std::uint64_t> entries(count);
  for (std::size_t i = 0; i < l1.size(); ++i) {
    entries[i] = L1Entry::make(L1Entry(l1[i]).offset(), /*copied=*/false).raw();
  }
  co_return entries;
}

// What a snapshot calls its L2 tables is going to be written, or given up: it must be nothing else.
Task<void> Snapshots::check_tables(const TableTree& tree) {
  for (const std::uint64_t table : tree.tables()) {
    const auto other = w_.regions.find(table, w_.header.cluster_size());
    if (!other || *other == RegionKind::active_l2) continue;
    co_await fail(
        ErrorKind::corrupt_image,
        fmt::format("'{}': an L2 table of the snapshot, at offset {:#x}, overlaps with {}",
                    w_.file.name(), table, to_string(*other)));
  }
}

Task<void> Snapshots::switch_to(ClusterRun run, std::vector<std::uint64_t> l1, std::uint64_t size) {
  Header& header = w_.header;
  const auto old = std::tuple(header.l1_table_offset, header.l1_size, header.size);
  header.l1_table_offset = run.offset;
  header.l1_size = static_cast<std::uint32_t>(l1.size());
  header.size = size;
  Result<void> written = co_await w_.epochs.write_header_now().result();
  if (!written) std::tie(header.l1_table_offset, header.l1_size, header.size) = old;
  co_await std::move(written);
  w_.map.l1().replace(run.offset, std::move(l1));
  w_.regions.remove_ranges(RegionKind::active_l1);
  w_.regions.add_range(RegionKind::active_l1, run.offset, header.l1_size * kEntry);
}

Task<void> Snapshots::drop_replaced(Referrer& replaced, const TableTree& tree) {
  w_.cache.forget_all();
  co_await references_.apply(replaced, Change::lower);
  w_.writer.forget_compressed_place();
  co_await references_.refresh_copied(tree, w_.map.l1());
  co_await settle();
}

// --- complete

Task<void> Snapshots::complete_table() {
  RangeLock::Guard everything(w_.writer.locks(), 0, kMaxFileSize, /*exclusive=*/true);
  co_await everything.acquired();
  co_await begin();
  Space space;
  Result<void> done = co_await complete_table_in(space).result();
  if (!done) co_await give_up(space);
  co_await std::move(done);
}

Task<void> Snapshots::complete_table_in(Space& space) {
  const Header& header = w_.header;
  const SnapshotTable table = co_await read_snapshots(header, w_.file);
  const std::vector<std::byte> bytes = co_await encode_snapshots(table.snapshots);
  // Strings and what is unknown stay: more bytes are extra data that was not there.
  if (bytes.size() == table.size) co_return;
  const ReferredRun old_table = clusters_of(header.snapshots_offset, table.size);
  co_await check_counted(header.snapshots_offset, table.size);
  space.table = co_await take(bytes.size());
  co_await settle();
  co_await write_new(space.table, bytes);
  const ClusterRun published = std::exchange(space, {}).table;
  co_await publish_table(published, header.snapshot_count);
  for (std::uint64_t i = 0; i < old_table.count; ++i) {
    w_.allocator.drop((old_table.first + i) << header.cluster_bits, /*discard=*/true);
  }
  co_await settle();
}

// --- empty

// In place: entries need not change together, and the table need not move behind what goes.
Task<void> Snapshots::empty_active() {
  RangeLock::Guard everything(w_.writer.locks(), 0, kMaxFileSize, /*exclusive=*/true);
  co_await everything.acquired();
  co_await begin();
  Referrer emptied{.tree = co_await TableTree::make(w_.header, active(), w_.file.name())};
  co_await references_.verify(emptied, Change::lower, cancel_);
  EntryTable& l1 = w_.map.l1();
  for (std::size_t i = 0; i < l1.size(); ++i) {
    if (l1[i] != 0) l1.set(i, 0);
  }
  w_.regions.replace_clusters(RegionKind::active_l2, {});
  w_.cache.forget_all();
  co_await w_.epochs.commit();
  co_await in_context(drop_emptied(emptied),
                      "the image is empty, but not all of its space was given back");
}

Task<void> Snapshots::drop_emptied(Referrer& emptied) {
  co_await references_.apply(emptied, Change::lower);
  w_.writer.forget_compressed_place();
  co_await settle();
}

}  // namespace platter::qcow2
