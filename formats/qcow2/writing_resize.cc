// Changing the virtual size.
#include <algorithm>

#include "formats/qcow2/writing.h"
#include "io/bytes.h"

namespace platter::qcow2 {

Result<void> check_resize(const Header& header, std::uint64_t size) {
  if (!is_aligned(size, kSectorSize)) {
    return fail(ErrorKind::invalid_argument, "The new size must be a multiple of 512");
  }
  if (header.version < 3 && header.snapshot_count > 0) {
    return fail(ErrorKind::unsupported, "Can't resize a v2 image which has snapshots");
  }
  const std::uint64_t covered = std::uint64_t{1} << (header.cluster_bits + header.l2_bits());
  const bool possible =
      size <= header.size || (size <= kMaxFileSize - covered &&
                              (size + covered - 1) / covered <= kL1SizeMax / sizeof(std::uint64_t));
  if (possible) return {};
  return fail(ErrorKind::too_large, "Failed to grow the L1 table: File too large");
}

Task<void> Writing::wait_for_requests() {
  RangeLock::Guard everything(writer.locks(), 0, kMaxFileSize, /*exclusive=*/true);
  co_await everything.acquired();
}

Task<void> Writing::resize(std::uint64_t size, ResizeOptions options) {
  co_await wait_for_requests();
  co_await epochs.check_usable();
  if (size == header.size) {
    co_await bitmaps.check_resize(
        size);  // what can't be changed is told where there is no change, too
    co_return;
  }
  co_await bitmaps.prepare_resize(size);
  Result<void> done = co_await resize_disk(size, options).result();
  bitmaps.finish_resize();
  co_await std::move(done);
}

Task<void> Writing::resize_disk(std::uint64_t size, ResizeOptions options) {
  if (size < header.size) {
    co_await shrink(size);
  } else if (size > header.size) {
    co_await grow(size, options);
  }
}

// All is there before the size says so: whatever fails, the size is as before.
Task<void> Writing::grow(std::uint64_t size, ResizeOptions options) {
  const std::uint64_t old_size = header.size;
  const std::uint64_t cluster_size = header.cluster_size();
  const std::uint64_t covered = std::uint64_t{1} << map.table_bits();
  co_await forget_behind(align_up(old_size, cluster_size));
  co_await grow_l1((size + covered - 1) >> map.table_bits());
  if (data_file != nullptr) co_await clear_behind(old_size, size);
  const std::uint64_t shown = image.backing() != nullptr ? image.backing()->virtual_size() : 0;
  // What the last cluster holds behind the old end was nobody's business so far.
  const std::uint64_t old_end = std::min(size, align_up(old_size, cluster_size));
  if (old_end > old_size) {
    const Mapping tail = co_await map.find(old_size, old_end - old_size);
    const bool zero = tail.kind == MappingKind::zero ||
                      (tail.kind == MappingKind::unallocated && shown <= old_size);
    if (!zero || tail.length < old_end - old_size) {
      co_await writer.write_zeroes(old_size, old_end - old_size, ZeroMode::may_unmap);
    }
  }
  // A longer backing file must not show.
  const std::uint64_t hidden_end = align_up(std::min(shown, size), cluster_size);
  if (options.preallocation == Preallocation::off && hidden_end > old_end) {
    co_await writer.write_zeroes(old_end, hidden_end - old_end, ZeroMode::may_unmap);
  }
  if (options.preallocation != Preallocation::off) {
    co_await writer.preallocate(align_up(old_size, cluster_size), align_up(size, cluster_size),
                                options.preallocation, options.cancel);
  }
  co_await fit_data_file(size);
  header.size = size;
  epochs.header_changed();
  Result<void> committed = co_await epochs.commit().result();
  if (!committed) header.size = old_size;
  co_await std::move(committed);
}

// What the data file holds behind the old end must not show, nor read otherwise by itself.
Task<void> Writing::clear_behind(std::uint64_t old_size, std::uint64_t size) {
  const std::uint64_t end = co_await data_file->size();
  if (!data_file->traits().is_block_device) {
    if (end > old_size) co_await data_file->truncate(old_size);
    co_return;
  }
  if (size > end) {
    co_await fail(ErrorKind::no_space, "'" + data_file->name() + "' is too small for the new size");
  }
  if (header.autoclear(kRawDataFileBit)) {
    co_await data_file->write_zeroes(old_size, size - old_size, ZeroMode::may_unmap);
  }
}

// A data file is as long as the disk; a device is as it is.
Task<void> Writing::fit_data_file(std::uint64_t size) {
  if (data_file == nullptr || data_file->traits().is_block_device) co_return;
  co_await data_file->truncate(size);
}

Task<void> Writing::grow_l1(std::uint64_t entries) {
  if (entries <= map.l1().size()) co_return;
  const auto clusters_of = [this](std::uint64_t count) {
    return (count * sizeof(std::uint64_t) + header.cluster_size() - 1) >> header.cluster_bits;
  };
  const std::uint64_t old_offset = header.l1_table_offset;
  const std::uint64_t old_clusters = clusters_of(map.l1().size());
  const std::uint64_t clusters = clusters_of(entries);
  const ClusterRun run = co_await allocator.allocate(clusters);
  map.l1().relocate(run.offset, entries);
  header.l1_table_offset = run.offset;
  header.l1_size = static_cast<std::uint32_t>(entries);
  regions.remove_ranges(RegionKind::active_l1);
  regions.add_range(RegionKind::active_l1, run.offset, clusters << header.cluster_bits);
  for (std::uint64_t i = 0; i < old_clusters; ++i) {
    allocator.drop(old_offset + (i << header.cluster_bits));
  }
}

// What lies behind `begin`, a multiple of the cluster size: left by a crash in shrink(), or by other
// programs.
Task<void> Writing::forget_behind(std::uint64_t begin) {
  const std::uint64_t covered = std::uint64_t{1} << map.table_bits();
  const std::uint64_t kept_tables = (begin + covered - 1) >> map.table_bits();
  const std::uint64_t end = kept_tables << map.table_bits();
  if (begin < end && (begin >> map.table_bits()) < map.l1().size()) {
    co_await writer.forget_clusters(begin, end);
  }
  for (std::size_t i = kept_tables; i < map.l1().size(); ++i) co_await drop_table(i);
}

// The size goes first: a crash leaves clusters behind the image's end, never an image whose end is
// gone.
Task<void> Writing::shrink(std::uint64_t size) {
  const std::uint64_t old_size = header.size;
  header.size = size;
  epochs.header_changed();
  Result<void> committed = co_await epochs.commit().result();
  if (!committed) header.size = old_size;
  co_await std::move(committed);
  co_await forget_behind(align_up(size, header.cluster_size()));
  co_await epochs.commit();
  co_await fit_data_file(size);
}

// A whole L2 table and all that it refers to, once.
Task<void> Writing::drop_table(std::size_t index) {
  if (epochs.over_limit()) co_await epochs.commit();
  const std::uint64_t guest = std::uint64_t{index} << map.table_bits();
  const std::uint64_t table = co_await map.l2_table(guest);
  if (table == 0) co_return;
  const std::uint64_t clusters = std::uint64_t{1} << header.l2_bits();
  for (std::uint64_t i = 0; i < clusters; ++i) {
    const std::uint64_t offset = guest + (i << header.cluster_bits);
    const EntryRef ref = co_await map.entry_at(table, offset);
    co_await map.check(ref.get(), offset);
    writer.drop_contents(ref.get(), /*discard=*/true);
  }
  map.l1().set(index, 0);
  regions.remove_cluster(RegionKind::active_l2, table);
  cache.forget(table, header.cluster_size());
  allocator.drop(table);
}

}  // namespace platter::qcow2
