// The snapshot table as a check reads it: what can be mended is told, not refused.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/qcow2/check_report.h"
#include "formats/qcow2/header.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// One entry, without its strings: where they are, and what refers to clusters.
struct SnapshotEntry {
  std::uint64_t place = 0;  ///< of the entry, in the file
  std::uint64_t l1_table_offset = 0;
  std::uint32_t l1_size = 0;          ///< entries; any value
  std::uint32_t extra_data_size = 0;  ///< bytes, as on disk; any value
  std::uint16_t id_size = 0;
  std::uint16_t name_size = 0;
};

struct SnapshotEntries {
  std::vector<SnapshotEntry> entries;
  std::uint64_t table_size = 0;  ///< bytes on disk
  /// Entries that the header counts but that are given up: they lie past a limit.
  std::uint32_t overhanging = 0;
  /// Faults that rewriting the table mends.
  std::uint64_t faults = 0;
};

/// Reads the table. Without `repair`, a table over a limit is an error; with it, entries past the
/// limits are left out. Errors: too_large, io.
Task<SnapshotEntries> read_snapshot_entries(const Header& header, File& file, bool repair,
                                            CheckMessages& messages);

/// The entry's strings, "ID (name)", for messages.
Task<std::string> describe_snapshot(File& file, const SnapshotEntry& entry);

/// The bytes of a new table for these entries: whole extra data, none of it over 1 KiB.
Task<std::vector<std::byte>> make_snapshot_table(const Header& header, File& file,
                                                 std::span<const SnapshotEntry> entries);

/// Bytes [begin, end), and for pieces of several such how many of them hold it, and the first.
struct SharedRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t weight = 1;
  std::size_t first = 0;
};
/// Cuts ranges that may overlap into pieces that don't, ordered by `first`, then by place: work
/// that is done once for each piece is bounded by the file, not by what the image claims.
std::vector<SharedRange> disjoint(std::span<const SharedRange> ranges);

}  // namespace platter::qcow2
