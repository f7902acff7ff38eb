#include "formats/qcow2/zero_expansion.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/cluster_type.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"
#include "io/task_group.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kWritesAtOnce = 16;
constexpr std::uint64_t kRunMax = 64 * kMiB;

bool is_zero_entry(std::uint64_t word) {
  return (word & kZeroFlag) != 0 && (word & kCompressedFlag) == 0;
}

bool has_zero_entries(std::span<const std::byte> table) {
  const std::size_t words = table.size() / sizeof(std::uint64_t);
  for (std::size_t i = 0; i < words; ++i) {
    if (is_zero_entry(table_word(table, i))) return true;
  }
  return false;
}

void add_tables(std::vector<std::uint64_t>& all, std::span<const std::uint64_t> l1) {
  std::ranges::copy_if(l1, std::back_inserter(all),
                       [](std::uint64_t entry) { return L1Entry(entry).offset() != 0; });
}

}  // namespace

ZeroExpansion::ZeroExpansion(Writing& writing, Options options)
    : w_(writing), options_(std::move(options)) {
  PLATTER_CHECK(!w_.header.extended_l2() && !w_.header.has_data_file());
}

// What is in memory goes to the disk, which is changed below the cache from now on.
Task<void> ZeroExpansion::settle() {
  do {
    co_await w_.epochs.commit();
  } while (w_.epochs.has_changes());
  w_.cache.forget_all();
}

// Below the active L1 table and those of the snapshots.
Task<TableTree> ZeroExpansion::all_tables() {
  std::vector<std::uint64_t> entries;
  add_tables(entries, w_.map.l1().entries());
  const SnapshotTable snapshots = co_await read_snapshots(w_.header, w_.file);
  for (const Snapshot& snapshot : snapshots.snapshots) {
    EntryTable l1(kSectorSize);
    co_await l1.load(w_.file, snapshot.l1_table_offset, snapshot.l1_size,
                     "L1 table of the snapshot");
    add_tables(entries, l1.entries());
  }
  TableTree tree = co_await TableTree::make(w_.header, entries, w_.file.name());
  for (const std::uint64_t table : tree.tables()) {
    const auto other = w_.regions.find(table, w_.header.cluster_size());
    if (!other || *other == RegionKind::active_l2) continue;
    co_return fail(ErrorKind::corrupt_image,
                   fmt::format("'{}': an L2 table of a snapshot, at offset {:#x}, overlaps with {}",
                               w_.file.name(), table, to_string(*other)));
  }
  co_return tree;
}

Task<ZeroExpansion::Found> ZeroExpansion::look() {
  co_await settle();
  const TableTree tree = co_await all_tables();
  Found found{.table_bytes = tree.tables().size() * w_.header.cluster_size()};
  const auto visit = [&](std::size_t index, std::span<std::byte> table) -> Result<bool> {
    const std::size_t words = table.size() / sizeof(std::uint64_t);
    for (std::size_t i = 0; i < words; ++i) {
      const L2Entry entry(table_word(table, i), 0);
      found.compressed = found.compressed || entry.compressed();
      if (!is_zero_entry(entry.raw()) || is_aligned(entry.offset(), w_.header.cluster_size())) {
        continue;
      }
      return fail(ErrorKind::corrupt_image,
                  fmt::format("'{}': L2 table at offset {:#x}: entry {} can't be: {:#x}",
                              w_.file.name(), tree.tables()[index], i, entry.raw()));
    }
    return false;
  };
  co_await tree.visit(w_.file, visit, {.cancel = options_.cancel});
  co_return found;
}

Task<void> ZeroExpansion::run() {
  co_await settle();
  const TableTree tree = co_await all_tables();
  TableBatch batch(w_.file, w_.header.cluster_size(), options_.cancel);
  for (std::size_t first = 0; first < tree.tables().size(); first += batch.capacity()) {
    Result<void> done = co_await do_batch(tree, first, batch).result();
    if (!done) give_up();
    co_await std::move(done);
  }
  co_await settle();
}

Task<void> ZeroExpansion::do_batch(const TableTree& tree, std::size_t first, TableBatch& batch) {
  const std::size_t count = std::min(batch.capacity(), tree.tables().size() - first);
  co_await batch.read(tree.tables().subspan(first, count));
  std::vector<Table> tables;
  for (std::size_t i = 0; i < count; ++i) {
    if (has_zero_entries(batch.table(i))) tables.push_back({first + i, batch.table(i)});
  }
  if (!tables.empty()) {
    co_await expand_all(tree, tables);
    co_await write(tree, tables);
    co_await drop_replaced();
    co_await settle();
  }
  if (options_.on_done) options_.on_done(count * w_.header.cluster_size());
}

// In memory, and what the tables will refer to on disk.
Task<void> ZeroExpansion::expand_all(const TableTree& tree, const std::vector<Table>& tables) {
  for (const Table& table : tables) {
    if (options_.cancel != nullptr) co_await options_.cancel->check();
    co_await expand(table, tree.weight(table.index));
    if (w_.epochs.over_limit()) co_await w_.epochs.commit();
  }
  co_await settle();
  co_await w_.file.flush();  // zeroes in places that were there before
}

Task<void> ZeroExpansion::expand(Table table, std::uint64_t weight) {
  std::vector<std::size_t> without_place;
  const std::size_t words = table.bytes.size() / sizeof(std::uint64_t);
  for (std::size_t i = 0; i < words; ++i) {
    const L2Entry entry(table_word(table.bytes, i), 0);
    if (!is_zero_entry(entry.raw())) continue;
    const std::uint64_t offset = entry.offset();
    if (!is_aligned(offset, w_.header.cluster_size())) {
      co_await fail(ErrorKind::corrupt_image,
                    fmt::format("'{}': an L2 entry can't be: {:#x}", w_.file.name(), entry.raw()));
    }
    const bool reused = options_.backed && offset != 0 && co_await reuse(offset, weight);
    if (reused) {
      const std::uint64_t flag = weight == 1 ? kCopiedFlag : 0;
      set_table_word(table.bytes, i, offset | flag);
      continue;
    }
    set_table_word(table.bytes, i, 0);
    if (offset != 0) replaced_.push_back({{.offset = offset, .count = 1}, weight});
    if (options_.backed) without_place.push_back(i);
  }
  co_await fill(table, std::move(without_place), weight);
}

// The cluster that an entry keeps becomes one of zeroes, if nothing else can see that.
Task<bool> ZeroExpansion::reuse(std::uint64_t offset, std::uint64_t weight) {
  const std::uint64_t size = w_.header.cluster_size();
  const std::uint64_t count = co_await w_.refcounts.get(offset >> w_.header.cluster_bits);
  if (count != weight || w_.regions.find(offset, size)) co_return false;
  co_await w_.file.write_zeroes(offset, size, ZeroMode::keep_allocated);
  co_return true;
}

Task<void> ZeroExpansion::fill(Table table, std::vector<std::size_t> entries,
                               std::uint64_t weight) {
  const unsigned bits = w_.header.cluster_bits;
  const std::uint64_t most = std::max<std::uint64_t>(1, kRunMax >> bits);
  for (std::size_t done = 0; done < entries.size();) {
    const ClusterRun run =
        co_await w_.allocator.allocate_up_to(std::min<std::uint64_t>(most, entries.size() - done));
    taken_.push_back({run, 1});
    if (!run.reads_as_zero) {
      co_await w_.file.write_zeroes(run.offset, run.count << bits, ZeroMode::may_unmap);
    }
    for (; taken_.back().references < weight; ++taken_.back().references) {
      co_await w_.refcounts.raise(run.offset >> bits, run.count);
    }
    for (std::uint64_t i = 0; i < run.count; ++i, ++done) {
      const L2Entry entry(run.offset + (i << bits) | (weight == 1 ? kCopiedFlag : 0), 0);
      set_table_word(table.bytes, entries[done], entry.raw());
    }
  }
}

Task<void> ZeroExpansion::write(const TableTree& tree, const std::vector<Table>& tables) {
  taken_.clear();  // from here on something on disk may refer to it
  auto write_all = [&](TaskGroup& group) { return spawn_writes(group, tree, tables); };
  co_await with_group(kWritesAtOnce, write_all);
  co_await w_.file.flush();
}

Task<void> ZeroExpansion::spawn_writes(TaskGroup& group, const TableTree& tree,
                                       const std::vector<Table>& tables) {
  for (const Table& table : tables) {
    if (group.failed()) break;
    co_await group.spawn(w_.file.write(tree.tables()[table.index], table.bytes));
  }
}

// The tables on disk are as they were. What is too much to remember stays counted and not used.
void ZeroExpansion::give_up() {
  for (const Taken& taken : taken_) {
    if (w_.epochs.over_limit()) break;
    for (std::uint64_t i = 0; i < taken.run.count; ++i) {
      const std::uint64_t offset = taken.run.offset + (i << w_.header.cluster_bits);
      for (std::uint64_t k = 0; k < taken.references; ++k) w_.allocator.drop(offset);
    }
  }
  taken_.clear();
  replaced_.clear();
}

// Nothing on disk refers to it: it may go in several epochs.
Task<void> ZeroExpansion::drop_replaced() {
  for (const Taken& replaced : std::exchange(replaced_, {})) {
    for (std::uint64_t k = 0; k < replaced.references; ++k) {
      w_.allocator.drop(replaced.run.offset, /*discard=*/true);
    }
    if (w_.epochs.over_limit()) co_await w_.epochs.commit();
  }
}

}  // namespace platter::qcow2
