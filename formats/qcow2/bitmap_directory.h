// Persistent dirty bitmaps: the directory, read, checked and written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/qcow2/header.h"
#include "io/error.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// QEMU's bounds.
inline constexpr std::size_t kBitmapNameMax = 1023;          // bytes
inline constexpr std::uint64_t kBitmapSizeMax = 512 * kMiB;  // bytes of bits
inline constexpr std::uint64_t kBitmapDirectorySizeMax = 1024 * std::uint64_t{kBitmapsMax};

/// Section "Bitmap directory". After read_bitmap_directory() all is within its bounds, the table is
/// not empty and lies at a multiple of the cluster size, perhaps past the end of the file.
struct BitmapEntry {
  std::string name;  ///< not empty, unique, without zero bytes
  std::uint64_t table_offset = 0;
  std::uint32_t table_size = 0;   ///< entries; of consistent bitmaps as many as the disk needs
  std::uint32_t flags = 0;        ///< kBitmapInUse, kBitmapAuto
  std::uint64_t granularity = 0;  ///< guest bytes for one bit
  bool operator==(const BitmapEntry&) const = default;

  bool in_use() const noexcept { return (flags & kBitmapInUse) != 0; }
  bool automatic() const noexcept { return (flags & kBitmapAuto) != 0; }
};

/// Whether the image has bitmaps that may be trusted to be its own.
bool has_bitmaps(const Header& header) noexcept;

/// Empty where the image has none, or where its autoclear bit says that they are not to be
/// trusted. Errors: corrupt_image, unsupported (extra data), too_large, io.
Task<std::vector<BitmapEntry>> read_bitmap_directory(const Header& header, File& file);

/// Whether there may be such a bitmap for a disk of this size. Errors: too_large, in QEMU's words.
Result<void> check_bitmap(const Header& header, std::string_view name, std::uint64_t granularity,
                          std::uint64_t size);
/// Entries of the table of a bitmap for a disk of `size` bytes. REQUIRES: check_bitmap().
std::uint32_t bitmap_table_size(const Header& header, std::uint64_t granularity,
                                std::uint64_t size) noexcept;

/// How many bytes the entries take. The directory is no larger than kBitmapDirectorySizeMax.
std::uint64_t directory_size(std::span<const BitmapEntry> entries) noexcept;
std::vector<std::byte> encode_directory(std::span<const BitmapEntry> entries);
/// Puts the flags into a directory as it is on disk, of the same entries, and leaves all else.
void update_flags(std::span<std::byte> directory, std::span<const BitmapEntry> entries);

}  // namespace platter::qcow2
