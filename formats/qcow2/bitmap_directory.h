// Persistent dirty bitmaps: the directory, read and checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/qcow2/header.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Section "Bitmap directory".
struct BitmapEntry {
  std::string name;
  std::uint64_t table_offset = 0;
  std::uint32_t table_size = 0;   ///< entries
  std::uint32_t flags = 0;        ///< kBitmapInUse, kBitmapAuto
  std::uint64_t granularity = 0;  ///< guest bytes for one bit
};

/// Empty where the image has none, or where its autoclear bit says that they are not to be
/// trusted. Errors: corrupt_image, too_large, io.
Task<std::vector<BitmapEntry>> read_bitmap_directory(const Header& header, File& file);

}  // namespace platter::qcow2
