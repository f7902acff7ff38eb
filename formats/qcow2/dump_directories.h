// The snapshot table and the bitmap directory as they are on disk, faults and all.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "formats/qcow2/dump_tables.h"

namespace platter::qcow2 {

/// Tables of many snapshots or bitmaps can overlap, so the file's size does not bound them: bytes that are
/// looked through, of all together.
inline constexpr std::uint64_t kDumpTablesMax = 4 * kGiB;

struct SnapshotRow {
  std::uint64_t index = 0;
  std::uint64_t place = 0;  ///< of the entry, in the file
  DiskSnapshot disk{};
  std::string id;
  std::string name;
  std::vector<std::byte> extra;  ///< as on disk, at most 1 KiB of it
  Problems problems;
};
/// At most 65536 entries, 64 MiB of them. What is wrong with the table itself is returned.
/// Errors of all here: io, cancelled.
Task<Problems> dump_snapshots(DumpSource source, std::function<bool(const SnapshotRow&)> on_row);

struct BitmapRow {
  std::uint64_t index = 0;
  std::uint64_t place = 0;  ///< of the entry, in the file
  DiskBitmapEntry disk{};
  std::string name;
  Problems problems;
};
/// At most 65535 entries, 64 MiB of them.
Task<Problems> dump_bitmaps(DumpSource source, std::function<bool(const BitmapRow&)> on_row);

/// Neighbouring entries of a bitmap's table that say the same: all bits are zeroes, or ones; or one
/// cluster of bits at a place.
struct BitmapTableRow {
  std::uint64_t index = 0;
  std::uint64_t entries = 1;
  std::uint64_t raw = 0;
  Problems problems;
};
/// At most as many entries as the largest bitmap has, within the file.
Task<void> dump_bitmap_table(DumpSource source, std::uint64_t table, std::uint64_t entries,
                             std::function<bool(const BitmapTableRow&)> on_row);

}  // namespace platter::qcow2
