// Internal snapshots: the table, read and checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/qcow2/header.h"
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
  std::uint64_t disk_size = 0;               ///< guest bytes when it was taken
  std::uint64_t icount = ~std::uint64_t{0};  ///< all ones: not recorded
};

/// Reads at most 64 MiB. Errors: corrupt_image, too_large, io.
Task<std::vector<Snapshot>> read_snapshots(const Header& header, File& file);

}  // namespace platter::qcow2
