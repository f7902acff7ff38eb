#include "formats/qcow2/dump_tables.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "formats/qcow2/cluster_map.h"
#include "formats/qcow2/refcount_width.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kPiece = 64 * kKiB;  // of a table, read at once
constexpr std::uint64_t kNowhere = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kL1ReservedMask = 0x7f000000000001ff;
constexpr std::uint64_t kL2ReservedMask = 0x3f000000000001fe;

std::uint64_t saturated(std::optional<std::uint64_t> value) { return value.value_or(kNowhere); }

// The words of a table one after the other, through a window. What lies past the end of the file is zero.
class Words {
 public:
  /// `size` bytes of the table, at most, are of interest.
  Words(const DumpSource& source, std::uint64_t table, std::uint64_t size)
      : source_(source), table_(table), piece_(std::min(size, kPiece)) {}

  Task<std::uint64_t> at(std::uint64_t index) {
    if (index < begin_ || index >= begin_ + window_.size() / kWord) {
      if (source_.cancel != nullptr) co_await look_for_cancel(source_.cancel);
      begin_ = index - index % (piece_ / kWord);
      window_.resize(piece_);
      const auto place = checked_add(table_, begin_ * kWord);
      if (place) {
        co_await read_zero_filled(source_.file, *place, window_);
      } else {
        std::ranges::fill(window_, std::byte{0});
      }
    }
    co_return table_word(window_, index - begin_);
  }

 private:
  const DumpSource& source_;
  std::uint64_t table_;
  std::uint64_t piece_;  // bytes, a multiple of a word
  std::uint64_t begin_ = 0;
  std::vector<std::byte> window_;
};

// How many of the words that a header claims lie within the file.
std::uint64_t words_there(const DumpSource& source, std::uint64_t table, std::uint64_t claimed) {
  if (table >= source.file_size) return 0;
  return std::min(claimed, (source.file_size - table + kWord - 1) / kWord);
}

void check_table(const DumpSource& source, std::uint64_t offset, std::string_view what,
                 Problems& problems) {
  if (!is_aligned(offset, source.header.cluster_size())) {
    problems.push_back(fmt::format("the {} is not at a multiple of the cluster size", what));
  }
  if (offset >= source.file_size) {
    problems.push_back(fmt::format("the {} lies past the end of the file", what));
  }
}

Problems l1_problems(const DumpSource& source, L1Entry entry) {
  Problems problems;
  if ((entry.raw() & kL1ReservedMask) != 0) problems.emplace_back("reserved bits are set");
  if (entry.offset() != 0) check_table(source, entry.offset(), "L2 table", problems);
  return problems;
}

// Guest bytes [begin, end), cut to what the disk and its L1 table have.
DumpRange cut_guest(const DumpSource& source, DumpRange range, unsigned table_bits) {
  const std::uint64_t covered =
      saturated(checked_mul(source.header.l1_size, std::uint64_t{1} << table_bits));
  range.end = std::min({range.end, source.header.size, covered});
  range.begin = align_down(range.begin, source.header.cluster_size());
  return range;
}

class L2Dump {
 public:
  L2Dump(const DumpSource& source, std::function<bool(const L2Row&)> on_row)
      : source_(source),
        header_(source.header),
        table_bits_(source.header.cluster_bits + source.header.l2_bits()),
        on_row_(std::move(on_row)) {}

  Task<void> run(DumpRange guest) {
    guest = cut_guest(source_, guest, table_bits_);
    Words l1(source_, header_.l1_table_offset, kPiece);
    const std::uint64_t there = words_there(source_, header_.l1_table_offset, header_.l1_size);
    for (std::uint64_t at = guest.begin; at < guest.end && !stopped_;) {
      const std::uint64_t index = at >> table_bits_;
      const std::uint64_t end =
          std::min(guest.end, saturated(checked_mul(index + 1, std::uint64_t{1} << table_bits_)));
      // Past the end of the file there are no more tables.
      const std::uint64_t raw = index < there ? co_await l1.at(index) : 0;
      const std::uint64_t table = L1Entry(raw).offset();
      if (index >= there) {
        add_unallocated(at, guest.end - at, 0, {"the L1 table ends past the end of the file"});
        break;
      }
      if (table == 0) {
        add_unallocated(at, end - at, 0, {});
      } else if (table >= source_.file_size) {
        add_unallocated(at, end - at, table, {"the L2 table lies past the end of the file"});
      } else if (walked_ > source_.file_size) {
        add_unallocated(at, guest.end - at, table,
                        {"more L2 tables than the file can hold: no more are looked at"});
        break;
      } else {
        walked_ += header_.cluster_size();
        co_await walk_table(table, at, end);
      }
      at = end;
    }
    flush();
  }

 private:
  Task<void> walk_table(std::uint64_t table, std::uint64_t begin, std::uint64_t end) {
    Words words(source_, table, header_.cluster_size());
    const std::uint64_t mask = (std::uint64_t{1} << header_.l2_bits()) - 1;
    const std::uint64_t stride = header_.l2_entry_size() / kWord;
    for (std::uint64_t at = begin; at < end && !stopped_; at += header_.cluster_size()) {
      const std::uint64_t index = (at >> header_.cluster_bits) & mask;
      const std::uint64_t raw = co_await words.at(index * stride);
      const std::uint64_t bitmap = stride == 2 ? co_await words.at(index * stride + 1) : 0;
      if (raw == 0 && bitmap == 0) {
        add_unallocated(at, header_.cluster_size(), table, {});
        continue;
      }
      flush();
      L2Row row = describe_l2_entry(source_, L2Entry(raw, bitmap));
      row.guest_offset = at;
      row.table = table;
      row.index = index;
      hand_over(row);
    }
  }
  // Joined with what came before.
  void add_unallocated(std::uint64_t at, std::uint64_t length, std::uint64_t table,
                       Problems problems) {
    if (unallocated_ && unallocated_->table == table && problems.empty() &&
        unallocated_->problems.empty()) {
      unallocated_->length += length;
      return;
    }
    flush();
    unallocated_ =
        L2Row{.guest_offset = at,
              .length = length,
              .table = table,
              .index = (at >> header_.cluster_bits) & ((std::uint64_t{1} << header_.l2_bits()) - 1),
              .problems = std::move(problems)};
  }
  void flush() {
    if (unallocated_) hand_over(*std::exchange(unallocated_, std::nullopt));
  }
  void hand_over(const L2Row& row) {
    if (!stopped_ && !on_row_(row)) stopped_ = true;
  }

  const DumpSource& source_;
  const Header& header_;
  unsigned table_bits_;
  std::function<bool(const L2Row&)> on_row_;
  std::optional<L2Row> unallocated_;
  std::uint64_t walked_ = 0;  // bytes of tables: each counts once in a sound image
  bool stopped_ = false;
};

// Clusters of the file that a range of host bytes touches.
struct ClusterRange {
  std::uint64_t begin;
  std::uint64_t end;
};
ClusterRange clusters_of(const DumpSource& source, DumpRange host) {
  const unsigned bits = source.header.cluster_bits;
  const std::uint64_t end = host.end == kNowhere ? source.file_size : host.end;
  return {host.begin >> bits, end == 0 ? 0 : ((end - 1) >> bits) + 1};
}

unsigned block_bits(const Header& header) {
  return header.cluster_bits + 3 - header.refcount_order;
}

std::uint64_t table_words(const Header& header) {
  return (std::uint64_t{header.refcount_table_clusters} << header.cluster_bits) / kWord;
}

Problems refcount_table_problems(const DumpSource& source, std::uint64_t raw) {
  Problems problems;
  if ((raw & kRefcountTableReservedMask) != 0) problems.emplace_back("reserved bits are set");
  check_table(source, raw & kRefcountTableOffsetMask, "refcount block", problems);
  return problems;
}

class RefcountDump {
 public:
  RefcountDump(const DumpSource& source, std::function<bool(const RefcountRow&)> on_row)
      : source_(source), header_(source.header), on_row_(std::move(on_row)) {}

  Task<void> run(DumpRange host) {
    const ClusterRange clusters = clusters_of(source_, host);
    Words table(source_, header_.refcount_table_offset, kPiece);
    const std::uint64_t there =
        words_there(source_, header_.refcount_table_offset, table_words(header_));
    const unsigned bits = block_bits(header_);
    for (std::uint64_t at = clusters.begin; at < clusters.end && !stopped_;) {
      const std::uint64_t index = at >> bits;
      if (index >= there) {  // what is behind the table is counted nowhere
        add(at, clusters.end - at, 0);
        break;
      }
      const std::uint64_t end = std::min(clusters.end, (index + 1) << bits);
      const std::uint64_t block = co_await table.at(index) & kRefcountTableOffsetMask;
      if (block == 0) {
        add(at, end - at, 0);
      } else if (block >= source_.file_size) {
        add(at, end - at, std::nullopt);
      } else {
        co_await count_block(block, at, end);
      }
      at = end;
    }
    flush();
  }

 private:
  Task<void> count_block(std::uint64_t block, std::uint64_t begin, std::uint64_t end) {
    block_.resize(header_.cluster_size());
    if (source_.cancel != nullptr) co_await look_for_cancel(source_.cancel);
    co_await read_zero_filled(source_.file, block, block_);
    const std::uint64_t mask = (std::uint64_t{1} << block_bits(header_)) - 1;
    with_refcount_width(header_.refcount_order, [&](auto width) {
      for (std::uint64_t at = begin; at < end && !stopped_; ++at) {
        add(at, 1, width.get(block_.data(), at & mask));
      }
    });
  }
  void add(std::uint64_t cluster, std::uint64_t count, std::optional<std::uint64_t> refcount) {
    if (row_.clusters > 0 && row_.refcount == refcount) {
      row_.clusters += count;
      return;
    }
    flush();
    row_ = {
        .host_offset = cluster << header_.cluster_bits, .clusters = count, .refcount = refcount};
  }
  void flush() {
    if (row_.clusters > 0 && !stopped_ && !on_row_(row_)) stopped_ = true;
    row_.clusters = 0;
  }

  const DumpSource& source_;
  const Header& header_;
  std::function<bool(const RefcountRow&)> on_row_;
  RefcountRow row_;
  std::vector<std::byte> block_;
  bool stopped_ = false;
};

}  // namespace

Task<void> dump_l1(DumpSource source, DumpRange guest, std::function<bool(const L1Row&)> on_row) {
  const Header& header = source.header;
  const unsigned bits = header.cluster_bits + header.l2_bits();
  Words words(source, header.l1_table_offset, kPiece);
  // Entries past the disk's end are shown, too: they refer to clusters all the same.
  const std::uint64_t there = words_there(source, header.l1_table_offset, header.l1_size);
  const std::uint64_t last = guest.end == 0 ? 0 : (guest.end - 1) >> bits;
  for (std::uint64_t index = guest.begin >> bits; index < there && index <= last; ++index) {
    const L1Entry entry(co_await words.at(index));
    if (entry.raw() == 0) continue;
    const L1Row row{.index = index,
                    .guest_offset = saturated(checked_mul(index, std::uint64_t{1} << bits)),
                    .entry = entry,
                    .problems = l1_problems(source, entry)};
    if (!on_row(row)) co_return;
  }
}

Task<void> dump_l2(DumpSource source, DumpRange guest, std::function<bool(const L2Row&)> on_row) {
  L2Dump dump(source, std::move(on_row));
  co_await dump.run(guest);
}

Task<void> dump_refcount_table(DumpSource source, DumpRange host,
                               std::function<bool(const RefcountTableRow&)> on_row) {
  const Header& header = source.header;
  const unsigned bits = block_bits(header);
  Words words(source, header.refcount_table_offset, kPiece);
  const std::uint64_t there =
      words_there(source, header.refcount_table_offset, table_words(header));
  const std::uint64_t begin = host.begin >> header.cluster_bits >> bits;
  const std::uint64_t last = host.end == 0 ? 0 : (host.end - 1) >> header.cluster_bits >> bits;
  for (std::uint64_t index = begin; index < there && index <= last; ++index) {
    const std::uint64_t raw = co_await words.at(index);
    if (raw == 0) continue;
    const RefcountTableRow row{.index = index,
                               .raw = raw,
                               .host_offset = index << bits << header.cluster_bits,
                               .problems = refcount_table_problems(source, raw)};
    if (!on_row(row)) co_return;
  }
}

Task<void> dump_refcounts(DumpSource source, DumpRange host,
                          std::function<bool(const RefcountRow&)> on_row) {
  RefcountDump dump(source, std::move(on_row));
  co_await dump.run(host);
}

L2Row describe_l2_entry(const DumpSource& source, L2Entry entry) {
  const Header& header = source.header;
  L2Row row{.length = header.cluster_size(), .type = cluster_type(header, entry), .entry = entry};
  Problems& problems = row.problems;
  if (row.type == ClusterType::compressed) {
    const CompressedPlace place = compressed_place(entry, header.cluster_bits);
    row.host_offset = place.offset;
    row.host_length = place.length;
    if (entry.copied()) problems.emplace_back("a compressed cluster with the COPIED flag");
    if (header.has_data_file()) problems.emplace_back("a compressed cluster beside a data file");
    if (entry.bitmap() != 0) problems.emplace_back("a compressed cluster with subclusters");
    if (place.offset >= source.file_size) {
      problems.emplace_back("the data lies past the end of the file");
    }
    return row;
  }
  if ((entry.raw() & kL2ReservedMask) != 0) problems.emplace_back("reserved bits are set");
  if (header.version == 2 && entry.zero_flag()) problems.emplace_back("a zero flag in version 2");
  if (header.extended_l2() && entry.zero_flag()) {
    problems.emplace_back("a zero flag beside subclusters");
  }
  if ((entry.allocated_bits() & entry.zero_bits()) != 0) {
    problems.emplace_back("subclusters are both allocated and zero");
  }
  if (!has_place(row.type)) {
    if (entry.allocated_bits() != 0) problems.emplace_back("subclusters without a place");
    return row;
  }
  row.host_offset = entry.offset();
  row.host_length = header.cluster_size();
  if (!is_aligned(entry.offset(), header.cluster_size())) {
    problems.emplace_back("the place is not at a multiple of the cluster size");
  }
  if (!header.has_data_file() && entry.offset() >= source.file_size) {
    problems.emplace_back("the data lies past the end of the file");
  }
  return row;
}

}  // namespace platter::qcow2
