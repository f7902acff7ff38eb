#include "formats/qcow2/bitmap_directory.h"

#include <cstring>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// QEMU's bounds: 64 KiB names make no sense, nor does a directory larger than this.
constexpr std::uint64_t kDirectorySizeMax = 64 * kMiB;
constexpr unsigned kGranularityBitsMin = 9;
constexpr unsigned kGranularityBitsMax = 31;

std::unexpected<Error> corrupt(const File& file, std::string_view what) {
  return fail(ErrorKind::corrupt_image,
              fmt::format("'{}': the bitmap directory: {}", file.name(), what));
}

}  // namespace

Task<std::vector<BitmapEntry>> read_bitmap_directory(const Header& header, File& file) {
  std::vector<BitmapEntry> entries;
  if (!header.bitmaps || !header.autoclear(kBitmapsBit)) co_return entries;
  const BitmapsExtension& extension = *header.bitmaps;
  if (extension.count > kBitmapsMax) co_return corrupt(file, "too many bitmaps");
  if (extension.directory_size > kDirectorySizeMax ||
      extension.directory_offset > kMaxFileSize - kDirectorySizeMax ||
      !is_aligned(extension.directory_offset, header.cluster_size())) {
    co_return corrupt(file, "its place is not possible");
  }
  // What the file holds bounds the memory, not what the header claims.
  const std::uint64_t file_size = co_await file.size();
  if (!in_bounds(extension.directory_offset, extension.directory_size, file_size)) {
    co_return corrupt(file, "it ends past the end of the file");
  }
  std::vector<std::byte> raw(extension.directory_size);
  co_await read_exactly(file, extension.directory_offset, raw);
  std::size_t at = 0;
  for (std::uint32_t i = 0; i < extension.count; ++i) {
    DiskBitmapEntry disk{};
    if (!in_bounds(at, sizeof disk, raw.size())) co_return corrupt(file, "it ends too early");
    std::memcpy(&disk, raw.data() + at, sizeof disk);
    const std::uint64_t name_at = at + sizeof disk + disk.extra_data_size;
    if (!in_bounds(name_at, disk.name_size, raw.size())) {
      co_return corrupt(file, "an entry ends past its end");
    }
    if (disk.granularity_bits < kGranularityBitsMin ||
        disk.granularity_bits > kGranularityBitsMax) {
      co_return corrupt(file, "a granularity is not possible");
    }
    entries.push_back(
        {.name = {reinterpret_cast<const char*>(raw.data() + name_at), disk.name_size},
         .table_offset = disk.bitmap_table_offset,
         .table_size = disk.bitmap_table_size,
         .flags = disk.flags,
         .granularity = std::uint64_t{1} << disk.granularity_bits});
    at = align_up(name_at + disk.name_size, 8);
  }
  co_return entries;
}

}  // namespace platter::qcow2
