// L1 and L2 tables and reference counts as they are on disk, entry by entry, faults and all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "formats/qcow2/cluster_type.h"
#include "formats/qcow2/header.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// What is needed to look at tables. All of it outlives the look.
struct DumpSource {
  const Header& header;  ///< RawHeader::geometry
  File& file;
  std::uint64_t file_size = 0;  ///< bytes
  const CancelToken* cancel = nullptr;
};

/// Bytes [begin, end) of the guest's disk or of the file.
struct DumpRange {
  std::uint64_t begin = 0;
  std::uint64_t end = ~std::uint64_t{0};
};

/// What is wrong with one entry, one line each.
using Problems = std::vector<std::string>;

struct L1Row {
  std::uint64_t index = 0;
  std::uint64_t guest_offset = 0;  ///< of the first byte that its table covers
  L1Entry entry{0};
  Problems problems;
};
/// The entries that are not zero and cover some of the range. The handler returns false to stop.
/// Errors of all here: io, cancelled.
Task<void> dump_l1(DumpSource source, DumpRange guest, std::function<bool(const L1Row&)> on_row);

struct L2Row {
  std::uint64_t guest_offset = 0;
  std::uint64_t length = 0;  ///< guest bytes: a cluster, or a run of unallocated ones
  std::uint64_t table = 0;   ///< host offset of the L2 table; 0: there is none
  std::uint64_t index = 0;   ///< in the table
  ClusterType type = ClusterType::unallocated;
  L2Entry entry;
  /// Where its bytes are, for what has a place: compressed data at any byte.
  std::optional<std::uint64_t> host_offset;
  std::uint64_t host_length = 0;
  Problems problems;
};
/// The clusters of the range, within the disk, in order. Tables that are named again and again are looked
/// at until they would fill the file.
Task<void> dump_l2(DumpSource source, DumpRange guest, std::function<bool(const L2Row&)> on_row);

struct RefcountTableRow {
  std::uint64_t index = 0;
  std::uint64_t raw = 0;
  std::uint64_t host_offset = 0;  ///< of the first cluster that its block counts
  Problems problems;
};
/// The entries of the refcount table that are not zero and count some of the range.
Task<void> dump_refcount_table(DumpSource source, DumpRange host,
                               std::function<bool(const RefcountTableRow&)> on_row);

struct RefcountRow {
  std::uint64_t host_offset = 0;
  std::uint64_t clusters = 0;             ///< in a row, with this count
  std::optional<std::uint64_t> refcount;  ///< nothing: the block can't be read
  bool operator==(const RefcountRow&) const = default;
};
/// The counts of the range's clusters, in order; those past the end of the file only where the range
/// says so.
Task<void> dump_refcounts(DumpSource source, DumpRange host,
                          std::function<bool(const RefcountRow&)> on_row);

/// What an entry of a data cluster says: type, place, and what is wrong with it.
L2Row describe_l2_entry(const DumpSource& source, L2Entry entry);

}  // namespace platter::qcow2
