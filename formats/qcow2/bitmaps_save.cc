// How bitmaps get to the disk.
#include <algorithm>
#include <utility>

#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kStoredAtOnce = 1 * kMiB;

}  // namespace

// --- "in use"

// The first of many writes marks them, the others wait for that.
Task<void> Bitmaps::mark() {
  const auto guard = co_await mutex_.lock();
  if (marked_) co_return;
  if (unsaved_) co_await save_now();
  co_await mark_in_use(/*all=*/false);
  marked_ = true;
}

Task<void> Bitmaps::mark_in_use(bool all) {
  std::vector<std::uint32_t> flags;
  for (const Bitmap& bitmap : bitmaps_) {
    const std::uint32_t before = *bitmap.disk_flags;
    const bool wanted = bitmap.enabled() || (all && bitmap.consistent());
    flags.push_back(wanted ? before | kBitmapInUse : before);
  }
  return write_flags(std::move(flags));
}

// In place: they are 4 bytes that never lie across two sectors, so each is as before or as it
// should be. REQUIRES: the directory on disk is that of bitmaps_.
Task<void> Bitmaps::write_flags(std::vector<std::uint32_t> flags) {
  std::vector<BitmapEntry> entries = list();
  bool differ = false;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].flags = flags[i];
    differ = differ || flags[i] != bitmaps_[i].disk_flags;
  }
  if (!differ) co_return;
  const BitmapsExtension& place = *p_.header.bitmaps;
  std::vector<std::byte> before(align_up(place.directory_size, kSectorSize));
  co_await read_zero_filled(p_.file, place.directory_offset, before);
  std::vector<std::byte> after = before;
  update_flags(after, entries);
  const auto first = std::ranges::mismatch(before, after).in1 - before.begin();
  auto last = std::ssize(after);
  while (last > first && before[last - 1] == after[last - 1]) --last;
  const std::uint64_t begin = align_down(first, kSectorSize);
  const std::uint64_t end = align_up(last, kSectorSize);
  after.erase(after.begin() + static_cast<std::ptrdiff_t>(end), after.end());
  after.erase(after.begin(), after.begin() + static_cast<std::ptrdiff_t>(begin));
  co_await p_.epochs.write_in_place(place.directory_offset + begin, std::move(after));
  for (std::size_t i = 0; i < flags.size(); ++i) bitmaps_[i].disk_flags = flags[i];
}

// --- contents

Task<void> Bitmaps::save() {
  const auto guard = co_await mutex_.lock();
  co_await save_now();
}

Task<void> Bitmaps::save_now() {
  // What is written from now on waits, and marks them anew.
  marked_ = false;
  const bool other_bits = std::ranges::any_of(bitmaps_, [](const Bitmap& bitmap) {
    return !bitmap.disk_flags || (bitmap.bits && bitmap.bits->changed());
  });
  if (other_bits || !removed_.empty()) {
    co_await rewrite();
  } else {
    std::vector<std::uint32_t> flags;
    bool begins = false;  // to record
    for (const Bitmap& bitmap : bitmaps_) {
      flags.push_back(bitmap.entry.flags);
      begins = begins || (bitmap.enabled() && (*bitmap.disk_flags & kBitmapAuto) == 0);
    }
    // What was written before is not recorded, so a crash must not undo it from now on.
    if (begins) co_await p_.epochs.commit();
    co_await write_flags(std::move(flags));
  }
  for (Bitmap& bitmap : bitmaps_) {
    if (!bitmap.enabled()) unload(bitmap);
  }
  unsaved_ = false;
  update_recording();
}

// New places for all that has changed; then the header names them.
Task<void> Bitmaps::rewrite() {
  co_await p_.epochs.check_usable();
  Unpublished taken;
  std::optional<BitmapsExtension> old;
  if (has_bitmaps(p_.header)) old = p_.header.bitmaps;
  Result<std::vector<Stored>> stored = co_await store_all(taken).result();
  Result<std::optional<BitmapsExtension>> directory = std::optional<BitmapsExtension>();
  if (stored) directory = co_await store_directory(*stored, taken).result();
  Result<void> done;
  if (!stored) done = fail(std::move(stored.error()));
  if (!directory) done = fail(std::move(directory.error()));
  if (done) done = co_await p_.epochs.commit().result();
  if (done) done = co_await p_.epochs.publish_bitmaps(*directory).result();
  if (done) {
    published(std::move(*stored), old);
    co_return;
  }
  // What can't be given back is counted and not used, no more.
  for (const ClusterRun& run : taken.runs) {
    if (p_.epochs.failure()) break;
    (void)co_await p_.allocator.release_unpublished(run).result();
  }
  co_await std::move(done);
}

Task<std::vector<Bitmaps::Stored>> Bitmaps::store_all(Unpublished& taken) {
  std::vector<Stored> stored;
  for (std::size_t i = 0; i < bitmaps_.size(); ++i) {
    const Bitmap& bitmap = bitmaps_[i];
    const bool as_on_disk = bitmap.disk_flags && !(bitmap.bits && bitmap.bits->changed());
    if (!as_on_disk) stored.push_back(co_await store(i, taken));
  }
  co_return stored;
}

Task<Bitmaps::Stored> Bitmaps::store(std::size_t index, Unpublished& taken) {
  Stored stored{.index = index};
  stored.table = co_await store_bits(*bitmaps_[index].bits, taken);
  std::vector<std::byte> bytes(stored.table.size() * sizeof(std::uint64_t));
  for (std::size_t i = 0; i < stored.table.size(); ++i) {
    set_table_word(bytes, i, stored.table[i].raw());
  }
  stored.place = co_await store_new(bytes, taken);
  co_return stored;
}

// Clusters of bits that are all the same need no place.
Task<BitmapTable> Bitmaps::store_bits(const DirtyBits& bits, Unpublished& taken) {
  const std::uint64_t cluster_size = p_.header.cluster_size();
  const std::uint64_t most = std::max<std::uint64_t>(kStoredAtOnce / cluster_size, 1);
  const std::uint64_t count = cluster_count(bits.byte_count());
  const auto kind_of = [&](std::uint64_t i) {
    return bits.kind_of(i * cluster_size, cluster_size);
  };
  BitmapTable table;
  while (table.size() < count) {
    const std::uint64_t first = table.size();
    const DirtyBits::Kind kind = kind_of(first);
    if (kind == DirtyBits::Kind::zeroes) table.push_back(BitmapTableEntry::zeroes());
    if (kind == DirtyBits::Kind::ones) table.push_back(BitmapTableEntry::ones());
    if (kind != DirtyBits::Kind::mixed) continue;
    std::uint64_t last = first + 1;
    while (last < std::min(count, first + most) && kind_of(last) == DirtyBits::Kind::mixed) ++last;
    const std::uint64_t begin = first * cluster_size;
    const std::uint64_t end = std::min(last * cluster_size, bits.byte_count());
    const ClusterRun run = co_await store_new(bits.bytes().subspan(begin, end - begin), taken);
    for (std::uint64_t i = 0; i < run.count; ++i) {
      table.push_back(BitmapTableEntry::at(run.offset + i * cluster_size));
    }
  }
  co_return table;
}

// `bytes` outlive it.
Task<ClusterRun> Bitmaps::store_new(std::span<const std::byte> bytes, Unpublished& taken) {
  const ClusterRun run = co_await p_.allocator.allocate(cluster_count(bytes.size()));
  taken.runs.push_back(run);
  co_await write_new_table(p_.file, run.offset, bytes, p_.header.cluster_size());
  co_return run;
}

Task<std::optional<BitmapsExtension>> Bitmaps::store_directory(const std::vector<Stored>& stored,
                                                               Unpublished& taken) {
  std::vector<BitmapEntry> entries = list();
  if (entries.empty()) co_return std::nullopt;
  for (const Stored& each : stored) {
    entries[each.index].table_offset = each.place.offset;
    entries[each.index].table_size = static_cast<std::uint32_t>(each.table.size());
  }
  const std::vector<std::byte> bytes = encode_directory(entries);
  const ClusterRun run = co_await store_new(bytes, taken);
  co_return BitmapsExtension{.count = static_cast<std::uint32_t>(entries.size()),
                             .directory_offset = run.offset,
                             .directory_size = bytes.size()};
}

// Nothing on disk refers to what was there before.
void Bitmaps::published(std::vector<Stored> stored, const std::optional<BitmapsExtension>& old) {
  if (old) drop_clusters(old->directory_offset, old->directory_size);
  for (const Bitmap& bitmap : removed_) drop(bitmap);
  removed_.clear();
  for (Stored& each : stored) {
    Bitmap& bitmap = bitmaps_[each.index];
    if (bitmap.disk_flags) drop(bitmap);
    bitmap.entry.table_offset = each.place.offset;
    bitmap.entry.table_size = static_cast<std::uint32_t>(each.table.size());
    bitmap.table = std::move(each.table);
    bitmap.bits->unchanged();
    memory_used_ += bitmap.table.size() * sizeof(BitmapTableEntry);
  }
  for (Bitmap& bitmap : bitmaps_) bitmap.disk_flags = bitmap.entry.flags;
  update_regions();
}

void Bitmaps::drop(const Bitmap& bitmap) {
  memory_used_ -= bitmap.table.size() * sizeof(BitmapTableEntry);
  if (!bitmap.knows_table) return;  // better keep what may be something else's
  drop_clusters(bitmap.entry.table_offset, bitmap.table.size() * sizeof(std::uint64_t));
  for (const std::uint64_t offset : data_clusters(bitmap.table)) p_.allocator.drop(offset);
}

void Bitmaps::drop_clusters(std::uint64_t offset, std::uint64_t size) {
  for (std::uint64_t i = 0; i < cluster_count(size); ++i) {
    p_.allocator.drop(offset + (i << p_.header.cluster_bits));
  }
}

}  // namespace platter::qcow2
