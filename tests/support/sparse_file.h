// Disks as files that other programs can read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/disk.h"

namespace platter::test {

/// What a file holds; holes take no memory.
Disk read_sparse(const std::string& path);
/// Makes the file, or makes it anew; holes stay holes.
void write_sparse(const std::string& path, const Disk& disk);

/// Calls `take(offset, bytes)` for all that is not a hole.
template <class Take>
void for_each_extent(const Disk& disk, Take take) {
  std::vector<std::byte> piece;
  for (const Extent& extent : disk.extents(0, disk.size(), 1 << 20)) {
    if (!extent.data) continue;
    piece.resize(extent.length);
    disk.read(extent.offset, piece);
    take(extent.offset, piece);
  }
}

}  // namespace platter::test
