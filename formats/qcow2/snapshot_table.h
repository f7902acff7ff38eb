// Internal snapshots: the table, read and checked, and written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/qcow2/header.h"
#include "formats/snapshot_key.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Section "Snapshots". Strings may be any bytes.
struct Snapshot {
  std::string id;
  std::string name;
  std::uint64_t l1_table_offset = 0;  ///< a multiple of the cluster size
  std::uint32_t l1_size = 0;          ///< entries, at most 32 MiB of them
  std::uint32_t date_sec = 0;
  std::uint32_t date_nsec = 0;
  std::uint64_t vm_clock_nsec = 0;
  std::uint64_t vm_state_size = 0;           ///< bytes
  std::uint64_t disk_size = 0;               ///< guest bytes when it was taken; any value
  std::uint64_t icount = ~std::uint64_t{0};  ///< all ones: not recorded
  /// Extra data behind what this code knows; kept to be written back.
  std::vector<std::byte> unknown_extra;
};

struct SnapshotTable {
  std::vector<Snapshot> snapshots;
  std::uint64_t size = 0;  ///< bytes on disk
};

/// Reads at most 64 MiB. Errors: corrupt_image, too_large, io.
Task<SnapshotTable> read_snapshots(const Header& header, File& file);

/// The bytes of a table, with the extra data that QEMU writes. Errors: too_large (more than 65536
/// snapshots, 64 MiB, 1 KiB of extra data, or 64 KiB for a name).
Result<std::vector<std::byte>> encode_snapshots(std::span<const Snapshot> snapshots);

/// Null where there is none.
const Snapshot* find_snapshot(std::span<const Snapshot> snapshots, const SnapshotKey& key);

/// One more than the largest id that begins with a number. Errors: too_large.
Result<std::string> next_snapshot_id(std::span<const Snapshot> snapshots);

}  // namespace platter::qcow2
