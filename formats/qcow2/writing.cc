#include "formats/qcow2/writing.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kKnownAutoclear = (1U << kBitmapsBit) | (1U << kRawDataFileBit);

}  // namespace

Writing::Writing(const Parts& parts)
    : header(parts.header),
      image(parts.image),
      file(parts.file),
      data_file(parts.data_file),
      cache(parts.cache),
      map(parts.map),
      refcounts(parts.header, parts.file, parts.cache),
      regions(parts.header.cluster_size()),
      allocator(parts.header, parts.file, refcounts, regions),
      epochs(parts.header, parts.file, parts.data_file, parts.cache, parts.map.l1(), refcounts,
             allocator),
      tables(parts.header, parts.map, parts.cache, allocator, regions),
      writer({.header = parts.header,
              .image = parts.image,
              .file = parts.file,
              .data = parts.data_file != nullptr ? *parts.data_file : parts.file,
              .map = parts.map,
              .tables = tables,
              .allocator = allocator,
              .regions = regions,
              .epochs = epochs,
              .discard_no_unref = parts.discard_no_unref}),
      bitmaps({.header = parts.header,
               .file = parts.file,
               .allocator = allocator,
               .regions = regions,
               .epochs = epochs,
               .memory_max = parts.bitmaps_memory_max}) {
  allocator.on_free([this](std::uint64_t offset) {
    cache.forget(offset, header.cluster_size());
    writer.on_free(offset);
  });
}

Task<std::unique_ptr<Writing>> Writing::start(const Parts& parts) {
  std::unique_ptr<Writing> writing(new Writing(parts));
  co_await writing->refcounts.load();
  co_await writing->learn_regions();
  co_await writing->bitmaps.start();
  co_await writing->allocator.start();
  Header& header = writing->header;
  if ((header.autoclear_features & ~kKnownAutoclear) != 0) {
    header.autoclear_features &= kKnownAutoclear;
    co_await writing->epochs.write_header_now();
  }
  co_return writing;
}

// Tables that lie upon each other are refused here: writing one would destroy the other.
Task<void> Writing::learn_regions() {
  const auto add = [this](RegionKind kind, std::uint64_t offset,
                          std::uint64_t length) -> Result<void> {
    if (const auto other = regions.find(offset, std::max<std::uint64_t>(length, 1));
        other && length > 0) {
      return fail(ErrorKind::corrupt_image,
                  fmt::format("'{}': the {} at offset {:#x} overlaps with the {}", file.name(),
                              to_string(kind), offset, to_string(*other)));
    }
    regions.add_range(kind, offset, length);
    return {};
  };
  co_await add(RegionKind::header, 0, header.cluster_size());
  co_await add(RegionKind::refcount_table, header.refcount_table_offset,
               std::uint64_t{header.refcount_table_clusters} << header.cluster_bits);
  co_await add(RegionKind::active_l1, header.l1_table_offset,
               std::uint64_t{header.l1_size} * sizeof(std::uint64_t));
  const SnapshotTable snapshots = co_await read_snapshots(header, file);
  co_await add(RegionKind::snapshot_table, header.snapshots_offset, snapshots.size);
  for (const Snapshot& snapshot : snapshots.snapshots) {
    co_await add(RegionKind::inactive_l1, snapshot.l1_table_offset,
                 std::uint64_t{snapshot.l1_size} * sizeof(std::uint64_t));
  }
  std::vector<std::uint64_t> offsets;
  const auto take = [&](RegionKind kind) -> Result<void> {
    std::ranges::sort(offsets);
    for (std::size_t i = 0; i < offsets.size(); ++i) {
      const auto other = regions.find(offsets[i], header.cluster_size());
      const bool twice = i > 0 && offsets[i] == offsets[i - 1];
      if (!other && !twice) continue;
      return fail(
          ErrorKind::corrupt_image,
          fmt::format("'{}': the {} at offset {:#x} overlaps with {}", file.name(), to_string(kind),
                      offsets[i], other ? to_string(*other) : std::string_view("another one")));
    }
    regions.add_clusters(kind, offsets);
    offsets.clear();
    return {};
  };
  for (std::size_t i = 0; i < refcounts.table().size(); ++i) {
    if (refcounts.table()[i] != 0) offsets.push_back(refcounts.table()[i]);
  }
  co_await take(RegionKind::refcount_block);
  for (std::size_t i = 0; i < map.l1().size(); ++i) {
    const std::uint64_t table = co_await map.l2_table(std::uint64_t{i} << map.table_bits());
    if (table != 0) offsets.push_back(table);
  }
  co_await take(RegionKind::active_l2);
}

Task<void> Writing::finish() {
  if (epochs.failure()) co_return;  // it was told when it happened
  // What the guest wrote is worth more than what tells where.
  Result<void> saved = co_await bitmaps.save().result();
  co_await epochs.commit();
  // The drops of the last epoch.
  if (epochs.has_changes()) co_await epochs.commit();
  co_await allocator.trim();
  co_await std::move(saved);
}

}  // namespace platter::qcow2
