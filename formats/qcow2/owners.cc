#include "formats/qcow2/owners.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/bitmap_table.h"
#include "formats/qcow2/dump_directories.h"
#include "formats/qcow2/l1_walk.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kPiece = 64 * kKiB;
constexpr std::size_t kHitsMax = 1 << 20;

// An entry of an L2 table that refers to the cluster.
struct Hit {
  std::uint64_t index = 0;
  L2Entry entry;
};

class OwnerSearch final : L1Visitor {
 public:
  OwnerSearch(const DumpSource& source, std::uint64_t at,
              std::function<bool(const Owner&)> on_owner)
      : source_(source),
        header_(source.header),
        at_(at),
        begin_(align_down(at, source.header.cluster_size())),
        on_owner_(std::move(on_owner)),
        walk_(source.header, source.file, source.file_size, *this, messages_, corruptions_,
              source.cancel) {}

  Task<Problems> run();

 private:
  void on_entry(const L1Visit& visit) override;
  Task<void> on_table(const L1Visit& visit, std::span<std::byte> bytes,
                      TableFaults& faults) override;
  void on_known_table(const L1Visit& visit) override { tell_hits(visit); }

  bool touches(std::uint64_t offset, std::uint64_t length) const noexcept {
    return length > 0 && offset < begin_ + header_.cluster_size() &&
           (offset > begin_ || begin_ - offset < length);
  }
  void tell(Owner owner);
  void tell_range(std::string_view kind, std::uint64_t offset, std::uint64_t length,
                  std::string name = {}) {
    if (touches(offset, length)) {
      tell({.kind = kind, .host_offset = offset, .host_length = length, .name = std::move(name)});
    }
  }
  void tell_hits(const L1Visit& visit);
  std::uint64_t guest_of(const L1Visit& visit, std::uint64_t index) const noexcept {
    // Where an index is too large for any disk the sum means nothing, and wraps.
    return (visit.index << (header_.cluster_bits + header_.l2_bits())) +
           (index << header_.cluster_bits);
  }

  Task<void> walk_l1(std::uint64_t table, std::uint64_t entries);
  Task<void> search_refcounts();
  Task<void> search_snapshots();
  Task<void> search_bitmaps();

  const DumpSource& source_;
  const Header& header_;
  std::uint64_t at_;
  std::uint64_t begin_;  // of the cluster
  std::function<bool(const Owner&)> on_owner_;
  CheckMessages messages_{nullptr, 0};
  std::uint64_t corruptions_ = 0;
  L1Walk walk_;
  std::unordered_map<std::uint64_t, std::vector<Hit>> hits_;  // by table
  std::size_t hit_count_ = 0;
  bool stopped_ = false;
  std::optional<std::uint64_t> snapshot_;  // in hand
  std::string name_;                       // its
  Problems problems_;
};

void OwnerSearch::tell(Owner owner) {
  if (stopped_) return;
  owner.holds_offset = owner.host_offset <= at_ && at_ - owner.host_offset < owner.host_length;
  if (!on_owner_(owner)) stopped_ = true;
}

void OwnerSearch::on_entry(const L1Visit& visit) {
  if (!touches(visit.table(), header_.cluster_size())) return;
  tell({.kind = "l2-table",
        .host_offset = visit.table(),
        .host_length = header_.cluster_size(),
        .snapshot = snapshot_,
        .name = name_,
        .guest_offset = guest_of(visit, 0)});
}

Task<void> OwnerSearch::on_table(const L1Visit& visit, std::span<std::byte> bytes,
                                 TableFaults& /*faults*/) {
  const bool extended = header_.extended_l2();
  const std::size_t stride = extended ? 2 : 1;
  std::vector<Hit> found;
  for (std::size_t word = 0; word < bytes.size() / kWord; word += stride) {
    const std::uint64_t raw = table_word(bytes, word);
    if (raw == 0) continue;
    const L2Entry entry(raw, extended ? table_word(bytes, word + 1) : 0);
    const L2Row row = describe_l2_entry(source_, entry);
    // Places in an external data file are none in this one.
    if (!row.host_offset || header_.has_data_file()) continue;
    if (!touches(*row.host_offset, row.host_length)) continue;
    if (hit_count_ == kHitsMax) {
      problems_.emplace_back("there are more owners than are told");
      stopped_ = true;
      co_return;
    }
    ++hit_count_;
    found.push_back({.index = word / stride, .entry = entry});
  }
  if (!found.empty()) hits_[visit.table()] = std::move(found);
  tell_hits(visit);
}

void OwnerSearch::tell_hits(const L1Visit& visit) {
  const auto hits = hits_.find(visit.table());
  if (hits == hits_.end()) return;
  for (const Hit& hit : hits->second) {
    const L2Row row = describe_l2_entry(source_, hit.entry);
    std::string_view kind = "data";
    if (row.type == ClusterType::compressed) kind = "compressed";
    if (row.type == ClusterType::zero_allocated) kind = "zero";
    tell({.kind = kind,
          .host_offset = row.host_offset.value_or(0),
          .host_length = row.host_length,
          .snapshot = snapshot_,
          .name = name_,
          .guest_offset = guest_of(visit, hit.index)});
  }
}

Task<void> OwnerSearch::walk_l1(std::uint64_t table, std::uint64_t entries) {
  const std::uint64_t size = std::min(entries * kWord, source_.file_size - table);
  std::vector<std::byte> bytes(std::min(size, kPiece));
  for (std::uint64_t at = 0; at < size && !stopped_; at += kPiece) {
    if (source_.cancel != nullptr) co_await look_for_cancel(source_.cancel);
    const auto piece = std::span(bytes).first(std::min(kPiece, size - at) / kWord * kWord);
    co_await read_zero_filled(source_.file, table + at, piece);
    for (std::size_t i = 0; i < piece.size() / kWord && !stopped_; ++i) {
      const L1Visit visit{.entry = table_word(piece, i), .index = at / kWord + i};
      if (visit.entry != 0) co_await walk_.visit(visit);
    }
  }
  // What is queued belongs to this table.
  co_await walk_.finish();
}

Task<void> OwnerSearch::search_refcounts() {
  const std::uint64_t size = std::uint64_t{header_.refcount_table_clusters} << header_.cluster_bits;
  tell_range("refcount-table", header_.refcount_table_offset, size);
  auto block = [this](const RefcountTableRow& row) {
    tell_range("refcount-block", row.raw & kRefcountTableOffsetMask, header_.cluster_size());
    return !stopped_;
  };
  co_await dump_refcount_table(source_, {}, block);
}

Task<void> OwnerSearch::search_snapshots() {
  std::vector<SnapshotRow> rows;
  std::uint64_t table_end = header_.snapshots_offset;
  auto keep = [&](const SnapshotRow& row) {
    table_end = row.place + sizeof row.disk + row.disk.extra_data_size + row.disk.id_size +
                row.disk.name_size;
    rows.push_back(row);
    rows.back().extra = {};
    return true;
  };
  co_await dump_snapshots(source_, keep);
  if (!rows.empty()) {
    tell_range("snapshot-table", header_.snapshots_offset, table_end - header_.snapshots_offset);
  }
  std::uint64_t walked = 0;
  for (const SnapshotRow& row : rows) {
    const std::uint64_t table = row.disk.l1_table_offset;
    const std::uint64_t entries = row.disk.l1_size;
    snapshot_ = row.index;
    name_ = row.name;
    if (touches(table, entries * kWord)) {
      tell({.kind = "l1-table",
            .host_offset = table,
            .host_length = entries * kWord,
            .snapshot = snapshot_,
            .name = name_});
    }
    if (stopped_ || table >= source_.file_size) continue;
    walked += std::min(entries * kWord, source_.file_size - table);
    if (walked > kDumpTablesMax) {
      problems_.push_back(
          fmt::format("the tables of snapshots from number {} on were not looked at", row.index));
      break;
    }
    co_await walk_l1(table, entries);
  }
  snapshot_.reset();
  name_.clear();
}

Task<void> OwnerSearch::search_bitmaps() {
  if (!header_.bitmaps) co_return;
  tell_range("bitmap-directory", header_.bitmaps->directory_offset,
             header_.bitmaps->directory_size);
  std::vector<BitmapRow> rows;
  auto keep = [&rows](const BitmapRow& row) {
    rows.push_back(row);
    return true;
  };
  co_await dump_bitmaps(source_, keep);
  std::uint64_t walked = 0;
  for (const BitmapRow& row : rows) {
    const std::uint64_t table = row.disk.bitmap_table_offset;
    walked += std::min<std::uint64_t>(row.disk.bitmap_table_size * kWord, source_.file_size);
    if (walked > kDumpTablesMax) {
      problems_.push_back(
          fmt::format("the tables of bitmaps from number {} on were not looked at", row.index));
      break;
    }
    tell_range("bitmap-table", table, std::uint64_t{row.disk.bitmap_table_size} * kWord, row.name);
    auto bits = [&](const BitmapTableRow& entry) {
      const std::uint64_t place = BitmapTableEntry(entry.raw).offset();
      if (place != 0) tell_range("bitmap-data", place, header_.cluster_size(), row.name);
      return !stopped_;
    };
    co_await dump_bitmap_table(source_, table, row.disk.bitmap_table_size, bits);
    if (stopped_) co_return;
  }
}

Task<Problems> OwnerSearch::run() {
  co_await walk_.prepare();
  tell_range("header", 0, header_.cluster_size());
  tell_range("l1-table", header_.l1_table_offset, std::uint64_t{header_.l1_size} * kWord);
  if (header_.l1_table_offset < source_.file_size) {
    co_await walk_l1(header_.l1_table_offset, header_.l1_size);
  }
  if (header_.crypt_header) {
    tell_range("encryption-header", header_.crypt_header->offset, header_.crypt_header->length);
  }
  if (!stopped_) co_await search_refcounts();
  if (!stopped_) co_await search_snapshots();
  if (!stopped_) co_await search_bitmaps();
  co_return std::move(problems_);
}

}  // namespace

Task<Problems> find_owners(DumpSource source, std::uint64_t at,
                           std::function<bool(const Owner&)> on_owner) {
  OwnerSearch search(source, at, std::move(on_owner));
  co_return co_await search.run();
}

}  // namespace platter::qcow2
