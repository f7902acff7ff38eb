#include "formats/qcow2/l2_tables.h"

#include <cstring>

#include "io/bytes.h"

namespace platter::qcow2 {

Task<EntryRef> L2Tables::entry_for_write(std::uint64_t offset) {
  const std::size_t index = offset >> map_.table_bits();
  for (;;) {
    const L1Entry l1(map_.l1()[index]);
    const std::uint64_t table = co_await map_.l2_table(offset);
    if (table != 0 && l1.copied()) {
      EntryRef ref = co_await map_.entry_at(table, offset);
      if (map_.l1()[index] == l1.raw()) co_return ref;
      continue;
    }
    const auto guard = co_await mutex_.lock();
    if (map_.l1()[index] != l1.raw()) continue;  // another one made it
    if (table == 0) {
      co_await add_table(offset);
    } else {
      co_await copy_table(offset);
    }
  }
}

void L2Tables::set(EntryRef& ref, std::size_t index, L2Entry entry) {
  const std::size_t word = ref.word + index * (ref.extended ? 2 : 1);
  ref.slice->set_entry(word, entry.raw());
  if (ref.extended) ref.slice->set_entry(word + 1, entry.bitmap());
  cache_.mark_dirty(*ref.slice);
}

void L2Tables::publish(std::uint64_t offset, std::uint64_t table) {
  map_.l1().set(offset >> map_.table_bits(), L1Entry::make(table, /*copied=*/true).raw());
  regions_.add_cluster(RegionKind::active_l2, table);
}

Task<void> L2Tables::add_table(std::uint64_t offset) {
  const ClusterRun run = co_await allocator_.allocate(1);
  const std::uint64_t entries = std::uint64_t{1} << header_.l2_bits();
  const std::uint64_t index = (offset >> header_.cluster_bits) & (entries - 1);
  const std::uint64_t wanted =
      run.offset + align_down(index * header_.l2_entry_size(), cache_.slice_size());
  for (std::uint64_t at = run.offset; at < run.offset + header_.cluster_size();
       at += cache_.slice_size()) {
    // What reads as zeroes need not be written. The slice that is wanted need not be read, either.
    if (run.reads_as_zero && at != wanted) continue;
    (void)cache_.add_zeroed(at, TableKind::l2_table, /*fresh=*/true);
  }
  publish(offset, run.offset);
}

Task<void> L2Tables::copy_table(std::uint64_t offset) {
  const std::uint64_t old = co_await map_.l2_table(offset);
  co_await cache_.prefetch(old, header_.cluster_size(), TableKind::l2_table);
  const ClusterRun run = co_await allocator_.allocate(1);
  for (std::uint64_t at = 0; at < header_.cluster_size(); at += cache_.slice_size()) {
    Result<std::shared_ptr<TableSlice>> source =
        co_await cache_.get(old + at, TableKind::l2_table).result();
    if (!source) {
      allocator_.drop(run.offset);  // not at once: a part of it may be on its way to the disk
      cache_.forget(run.offset, header_.cluster_size());
      co_await fail(std::move(source.error()));
    }
    const auto copy = cache_.add_zeroed(run.offset + at, TableKind::l2_table, /*fresh=*/true);
    std::memcpy(copy->bytes().data(), (*source)->bytes().data(), cache_.slice_size());
  }
  regions_.remove_cluster(RegionKind::active_l2, old);
  allocator_.drop(old);
  publish(offset, run.offset);
}

}  // namespace platter::qcow2
