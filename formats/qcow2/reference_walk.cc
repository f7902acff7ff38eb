#include "formats/qcow2/reference_walk.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include <fmt/format.h>

#include "formats/qcow2/bitmap_references.h"
#include "formats/qcow2/cluster_map.h"
#include "formats/qcow2/cluster_type.h"
#include "formats/qcow2/l1_walk.h"
#include "formats/qcow2/metadata_guard.h"
#include "formats/qcow2/reference_counter.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
constexpr std::uint64_t kL1ReservedMask = 0x7f000000000001ff;
constexpr std::uint64_t kL2ReservedMask = 0x3f000000000001fe;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kWordsAtOnce = 128 * kKiB;

// Of one L2 table.
struct ClusterStatistics {
  std::uint64_t allocated = 0;
  std::uint64_t fragmented = 0;
  std::uint64_t compressed = 0;
  std::uint64_t next = 0;  // where the next cluster is not fragmented; 0: anywhere

  void add_place(std::uint64_t offset, std::uint64_t cluster_size) {
    ++allocated;
    if (next != 0 && offset != next) ++fragmented;
    next = offset + cluster_size;
  }
  void add_compressed() {
    ++allocated;
    ++compressed;
    ++fragmented;
  }
};

class ReferenceWalk final : L1Visitor {
 public:
  ReferenceWalk(CheckRun& run, bool fix)
      : run_(run),
        header_(run.header),
        counter_(run),
        fix_(fix),
        walk_(run.header, run.file, run.file_size, *this, run.messages, run.report.corruptions,
              run.cancel) {}

  Task<void> count_all();

 private:
  // One visit to one L2 table.
  struct Table {
    const L1Visit& visit;
    std::span<std::byte> bytes;
    std::uint64_t references;  // that each of its entries stands for
    TableFaults& faults;
    ClusterStatistics statistics{};
    std::vector<std::size_t> to_zero{};  // entries
  };

  void on_entry(const L1Visit& visit) override;
  Task<void> on_table(const L1Visit& visit, std::span<std::byte> bytes,
                      TableFaults& faults) override;
  void on_known_table(const L1Visit& visit) override {
    if (visit.active) active_again_.push_back(visit.table());
  }

  Result<void> prepare();
  void note_table(std::uint64_t entry, std::uint64_t weight);
  std::uint64_t references_to(const L1Visit& visit) const;
  template <class Width>
  void count_entries(Width width, Table& table);
  void count_entry(Table& table, std::size_t index, L2Entry entry);
  void count_compressed(Table& table, std::size_t index, L2Entry entry);
  void count_placed(Table& table, std::size_t index, L2Entry entry);
  Task<void> write_zero_entries(Table& table);
  void add_statistics(const ClusterStatistics& statistics, std::uint64_t times);

  Task<void> count_snapshots();
  Task<std::vector<SharedRange>> find_snapshot_tables();
  Task<void> visit_snapshot(const SharedRange& range, bool only_note);
  Task<void> count_active_again();
  void count_encryption_header();
  Task<void> count_refcount_blocks();

  CheckRun& run_;
  const Header& header_;
  ReferenceCounter counter_;
  bool fix_;
  L1Walk walk_;
  RefcountArray once_;                                     // L2 tables by cluster: one bit
  std::unordered_map<std::uint64_t, std::uint64_t> more_;  // references after the first
  std::vector<std::uint64_t> active_again_;
};

Result<void> ReferenceWalk::prepare() {
  if (auto prepared = walk_.prepare(); !prepared) return prepared;
  auto once =
      RefcountArray::create(0, run_.counts.size(), std::numeric_limits<std::uint64_t>::max());
  if (!once) return fail(std::move(once.error()));
  once_ = std::move(*once);
  return {};
}

// Counts references to L2 tables before the tables are read.
void ReferenceWalk::note_table(std::uint64_t entry, std::uint64_t weight) {
  const std::uint64_t table = L1Entry(entry).offset();
  if (entry == 0 || table >= run_.file_size || !is_aligned(table, header_.cluster_size())) return;
  const std::uint64_t cluster = table >> header_.cluster_bits;
  if (once_.get(cluster) == 0) {
    once_.set(cluster, 1);
    --weight;
  }
  if (weight > 0) more_[cluster] += weight;
}

std::uint64_t ReferenceWalk::references_to(const L1Visit& visit) const {
  if (!is_aligned(visit.table(), header_.cluster_size())) return visit.weight;
  const auto more = more_.find(visit.table() >> header_.cluster_bits);
  return more == more_.end() ? 1 : 1 + more->second;
}

void ReferenceWalk::on_entry(const L1Visit& visit) {
  if ((visit.entry & kL1ReservedMask) != 0) {
    counter_.fault(fmt::format("ERROR found L1 entry with reserved bits set: {:x}", visit.entry),
                   visit.weight);
  }
  counter_.count_range(visit.table(), header_.cluster_size(), visit.weight);
  if (!is_aligned(visit.table(), header_.cluster_size())) {
    counter_.fault(
        fmt::format("ERROR l2_offset={:x}: Table is not cluster aligned; L1 entry corrupted",
                    visit.table()),
        visit.weight);
  }
  if (visit.active && (visit.entry & kCopied) == 0) run_.all_copied = false;
}

Task<void> ReferenceWalk::on_table(const L1Visit& visit, std::span<std::byte> bytes,
                                   TableFaults& faults) {
  Table table{.visit = visit, .bytes = bytes, .references = references_to(visit), .faults = faults};
  with_refcount_width(header_.refcount_order, [&](auto width) { count_entries(width, table); });
  if (visit.active) add_statistics(table.statistics, 1);
  if (!table.to_zero.empty()) co_await write_zero_entries(table);
}

void ReferenceWalk::add_statistics(const ClusterStatistics& statistics, std::uint64_t times) {
  run_.report.allocated_clusters += statistics.allocated * times;
  run_.report.fragmented_clusters += statistics.fragmented * times;
  run_.report.compressed_clusters += statistics.compressed * times;
}

// The loop that all the time goes to: entries that are nothing but a good place are dealt with at
// once, others elsewhere.
template <class Width>
void ReferenceWalk::count_entries(Width width, Table& table) {
  const std::uint64_t cluster_size = header_.cluster_size();
  const std::uint64_t special = kL1ReservedMask | (cluster_size - 1);
  const bool extended = header_.extended_l2();
  const std::size_t stride = extended ? 2 : 1;
  const bool in_this_file = !header_.has_data_file();
  const std::size_t words = table.bytes.size() / kWord;
  std::uint64_t last = 0;
  std::uint64_t flags = kCopied;
  for (std::size_t word = 0; word < words; word += stride) {
    const std::uint64_t raw = table_word(table.bytes, word);
    const std::uint64_t bitmap = extended ? table_word(table.bytes, word + 1) : 0;
    if (raw == 0 && bitmap == 0) continue;
    const std::uint64_t offset = raw & ~kCopied;
    const bool plain = (raw & special) == 0 && offset != 0 && offset < run_.file_size &&
                       ((bitmap >> 32) & bitmap) == 0;
    if (!plain) {
      count_entry(table, word / stride, L2Entry(raw, bitmap));
      continue;
    }
    table.statistics.add_place(offset, cluster_size);
    flags &= raw;
    if (!in_this_file) continue;
    const std::uint64_t cluster = offset >> header_.cluster_bits;
    last = std::max(last, cluster);
    if (table.references == 1 && width.get(run_.counts.data(), cluster) == 0) {
      width.set(run_.counts.data(), cluster, 1);
      continue;
    }
    run_.shared = true;
    const std::uint64_t excess =
        RefcountArray::add_to(width, run_.counts.data(), cluster, table.references);
    if (excess != 0) counter_.overflowed(cluster, excess);
  }
  run_.clusters = std::max(run_.clusters, last + 1);
  if (table.visit.active && (flags & kCopied) == 0) run_.all_copied = false;
}

void ReferenceWalk::count_entry(Table& table, std::size_t index, L2Entry entry) {
  const ClusterType type = cluster_type(header_, entry);
  if (type == ClusterType::compressed) {
    count_compressed(table, index, entry);
    return;
  }
  if ((entry.raw() & kL2ReservedMask) != 0) {
    table.faults.add(fmt::format("ERROR found l2 entry with reserved bits set: {:x}", entry.raw()));
  }
  if (has_place(type)) {
    count_placed(table, index, entry);
  } else if (type == ClusterType::unallocated && entry.allocated_bits() != 0) {
    table.faults.add("ERROR: Unallocated cluster has non-zero subcluster allocation map");
  }
}

void ReferenceWalk::count_compressed(Table& table, std::size_t index, L2Entry entry) {
  const CompressedPlace place = compressed_place(entry, header_.cluster_bits);
  std::uint64_t raw = entry.raw();
  if (entry.copied()) {
    table.faults.add(
        fmt::format("ERROR: coffset={:#x}: copied flag must never be set for compressed clusters",
                    place.offset));
    raw &= ~kCopied;
  }
  if (header_.has_data_file()) {
    table.faults.add(
        fmt::format("ERROR compressed cluster {} with data file, entry={:#x}", index, raw));
    return;
  }
  if (entry.allocated_bits() != 0 || entry.zero_bits() != 0) {
    table.faults.add(fmt::format(
        "ERROR compressed cluster {} with non-zero subcluster allocation bitmap, entry={:#x}",
        index, raw));
    return;
  }
  if (counter_.ends_in_file(place.offset, place.length)) {
    counter_.count_clusters(place.offset, place.length, table.references);
  } else {
    table.faults.add(ReferenceCounter::beyond_end(place.offset, place.length));
    counter_.note_outside(place.offset, place.length, table.references);
  }
  table.statistics.add_compressed();
}

void ReferenceWalk::count_placed(Table& table, std::size_t index, L2Entry entry) {
  const std::uint64_t offset = entry.offset();
  if ((entry.allocated_bits() & entry.zero_bits()) != 0) {
    table.faults.add(fmt::format(
        "ERROR offset={:x}: Allocated cluster has corrupted subcluster allocation bitmap", offset));
  }
  if (!is_aligned(offset, header_.cluster_size())) {
    const bool holds_data =
        header_.extended_l2() ? entry.allocated_bits() != 0 : !entry.zero_flag();
    if (holds_data) {
      table.faults.add(fmt::format(
          "ERROR offset={:x}: Data cluster is not properly aligned; L2 entry corrupted.", offset));
    } else if (fix_) {
      table.faults.add_repaired(fmt::format(
          "Repairing offset={:x}: Preallocated cluster is not properly aligned; L2 entry "
          "corrupted.",
          offset));
      table.to_zero.push_back(index);
      return;
    } else {
      table.faults.add(fmt::format(
          "ERROR offset={:x}: Preallocated cluster is not properly aligned; L2 entry corrupted.",
          offset));
    }
  }
  table.statistics.add_place(offset, header_.cluster_size());
  if (table.visit.active && !entry.copied()) run_.all_copied = false;
  if (header_.has_data_file()) return;
  if (counter_.ends_in_file(offset, header_.cluster_size())) {
    counter_.count_clusters(offset, header_.cluster_size(), table.references);
  } else {
    table.faults.add(ReferenceCounter::beyond_end(offset, header_.cluster_size()));
    counter_.note_outside(offset, header_.cluster_size(), table.references);
  }
}

// Such a cluster reads as zeroes before and after, so each entry may change on its own.
Task<void> ReferenceWalk::write_zero_entries(Table& table) {
  const std::uint64_t size = header_.l2_entry_size();
  co_await check_free_of_metadata(run_, table.visit.table(), header_.cluster_size(), "L2 table");
  for (const std::size_t index : table.to_zero) {
    const std::span<std::byte> entry = table.bytes.subspan(index * size, size);
    set_table_word(entry, 0, header_.extended_l2() ? 0 : 1);
    if (header_.extended_l2()) {
      // What read as zeroes still does; the rest comes from the backing image.
      const std::uint64_t bitmap = table_word(entry, 1);
      set_table_word(entry, 1, (bitmap | (bitmap << 32)) & 0xffffffff00000000);
    }
    co_await run_.file.write(table.visit.table() + index * size, entry);
    ++run_.report.corruptions_fixed;
  }
  co_await run_.file.flush();
}

// The pieces of the snapshots' L1 tables, by the snapshot that has them first.
Task<std::vector<SharedRange>> ReferenceWalk::find_snapshot_tables() {
  std::vector<SharedRange> tables;
  for (const SnapshotEntry& snapshot : run_.snapshots.entries) {
    SharedRange range{.begin = snapshot.l1_table_offset};
    const bool sound = is_aligned(range.begin, header_.cluster_size()) &&
                       snapshot.l1_size <= kL1SizeMax / kWord && range.begin < run_.file_size;
    range.end = sound ? std::min(range.begin + snapshot.l1_size * kWord, run_.file_size) : 0;
    tables.push_back(range);
  }
  co_return disjoint(tables);
}

Task<void> ReferenceWalk::visit_snapshot(const SharedRange& range, bool only_note) {
  for (std::uint64_t at = range.begin; at < range.end; at += kWordsAtOnce * kWord) {
    if (run_.cancel != nullptr) co_await run_.cancel->check();
    const std::uint64_t count = std::min((range.end - at) / kWord, kWordsAtOnce);
    const std::vector<std::uint64_t> entries = co_await read_words(run_, at, count);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (only_note) {
        note_table(entries[i], range.weight);
      } else if (entries[i] != 0) {
        const L1Visit visit{
            .entry = entries[i], .index = i, .weight = range.weight, .active = false};
        co_await walk_.visit(visit);
      }
    }
  }
}

Task<void> ReferenceWalk::count_snapshots() {
  const std::vector<SnapshotEntry>& snapshots = run_.snapshots.entries;
  if (header_.has_data_file() && !snapshots.empty()) {
    counter_.fault(fmt::format("ERROR {} snapshots in image with data file", snapshots.size()));
  }
  const std::vector<SharedRange> pieces = co_await find_snapshot_tables();
  std::vector<SharedRange> clusters;
  std::size_t piece = 0;
  for (std::size_t i = 0; i < snapshots.size(); ++i) {
    const SnapshotEntry& snapshot = snapshots[i];
    const std::uint64_t size = snapshot.l1_size * kWord;
    if (!is_aligned(snapshot.l1_table_offset, header_.cluster_size())) {
      counter_.fault(
          fmt::format("ERROR snapshot {} l1_offset={:#x}: L1 table is not cluster aligned; "
                      "snapshot table entry corrupted",
                      co_await describe_snapshot(run_.file, snapshot), snapshot.l1_table_offset));
    } else if (size > kL1SizeMax) {
      counter_.fault(
          fmt::format("ERROR snapshot {} l1_size={:#x}: L1 table is too large; snapshot table "
                      "entry corrupted",
                      co_await describe_snapshot(run_.file, snapshot), snapshot.l1_size));
    } else {
      counter_.add_range(snapshot.l1_table_offset, size, clusters);
    }
    for (; piece < pieces.size() && pieces[piece].first == i; ++piece) {
      co_await visit_snapshot(pieces[piece], /*only_note=*/false);
      co_await walk_.finish();
    }
  }
  counter_.count_ranges(clusters);
  if (!snapshots.empty()) counter_.count_range(header_.snapshots_offset, run_.snapshots.table_size);
}

// L2 tables that the active L1 table names more than once count as often in the statistics.
Task<void> ReferenceWalk::count_active_again() {
  std::ranges::sort(active_again_);
  TableBatch batch(run_.file, header_.cluster_size(), run_.cancel);
  for (auto at = active_again_.begin(); at != active_again_.end();) {
    const auto end = std::ranges::upper_bound(at, active_again_.end(), *at);
    const std::uint64_t offset = *at;
    co_await batch.read({&offset, 1});
    TableFaults ignored;
    const L1Visit visit{.entry = offset};
    Table table{.visit = visit, .bytes = batch.table(0), .references = 0, .faults = ignored};
    with_refcount_width(header_.refcount_order, [&](auto width) { count_entries(width, table); });
    add_statistics(table.statistics, static_cast<std::uint64_t>(end - at));
    at = end;
  }
}

// Section "Full disk encryption header pointer".
void ReferenceWalk::count_encryption_header() {
  const auto& crypt = header_.crypt_header;
  if (crypt) counter_.count_range(crypt->offset, crypt->length);
}

Task<void> ReferenceWalk::count_refcount_blocks() {
  for (std::size_t i = 0; i < run_.refcount_table.size(); ++i) {
    const std::uint64_t entry = run_.refcount_table[i];
    const std::uint64_t offset = entry & kRefcountTableOffsetMask;
    const std::uint64_t cluster = offset >> header_.cluster_bits;
    if ((entry & kRefcountTableReservedMask) != 0) {
      counter_.fault(fmt::format("ERROR refcount table entry {} has reserved bits set", i));
    } else if (!is_aligned(offset, header_.cluster_size())) {
      counter_.fault(fmt::format(
          "ERROR refcount block {} is not cluster aligned; refcount table entry corrupted", i));
    } else if (cluster >= run_.clusters) {
      counter_.fault(
          fmt::format("{} refcount block {} is outside image", fix_ ? "Repairing" : "ERROR", i));
      // By itself no reason: it counts nothing.
      if (!fix_) continue;
    } else {
      if (offset == 0) continue;
      counter_.count_range(offset, header_.cluster_size());
      const std::uint64_t count = run_.counts.get(cluster);
      if (count == 1) continue;
      counter_.fault(fmt::format("ERROR refcount block {} refcount={}", i, count));
    }
    run_.rebuild = true;
  }
  co_return;
}

Task<void> ReferenceWalk::count_all() {
  co_await prepare();
  counter_.count_range(0, header_.cluster_size());
  for (const std::uint64_t entry : run_.l1) note_table(entry, 1);
  for (const SharedRange& piece : co_await find_snapshot_tables()) {
    co_await visit_snapshot(piece, /*only_note=*/true);
  }
  counter_.count_range(header_.l1_table_offset, header_.l1_size * kWord);
  for (std::size_t i = 0; i < run_.l1.size(); ++i) {
    if (run_.l1[i] == 0) continue;
    const L1Visit visit{.entry = run_.l1[i], .index = i};
    co_await walk_.visit(visit);
  }
  co_await walk_.finish();
  co_await count_active_again();
  co_await count_snapshots();
  counter_.count_range(header_.refcount_table_offset,
                       std::uint64_t{header_.refcount_table_clusters} << header_.cluster_bits);
  count_encryption_header();
  co_await count_bitmap_references(run_, counter_);
  co_await count_refcount_blocks();
}

}  // namespace

Task<void> count_references(CheckRun& run, bool fix) {
  ReferenceWalk walk(run, fix);
  co_await walk.count_all();
}

}  // namespace platter::qcow2
