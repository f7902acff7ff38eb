#include "formats/qcow2/bitmap_directory.h"

#include <bit>
#include <cstring>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/bitmap_bits.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint8_t kTypeDirtyTracking = 1;
constexpr std::uint32_t kKnownFlags = kBitmapInUse | kBitmapAuto;

std::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorKind::corrupt_image, std::move(message));
}

std::uint64_t entry_size(std::size_t name_size) noexcept {
  return align_up(sizeof(DiskBitmapEntry) + name_size, 8);
}

Result<void> check_extension(const Header& header) {
  const BitmapsExtension& extension = *header.bitmaps;
  if (extension.count == 0) return corrupt("found bitmaps extension with zero bitmaps");
  if (extension.count > kBitmapsMax) {
    return corrupt(
        fmt::format("bitmaps_ext: Image has {} bitmaps, exceeding the QEMU supported maximum of {}",
                    extension.count, kBitmapsMax));
  }
  if (extension.directory_offset == 0 || extension.directory_offset > kMaxFileSize ||
      !is_aligned(extension.directory_offset, header.cluster_size())) {
    return corrupt("bitmaps_ext: invalid bitmap directory offset");
  }
  if (extension.directory_size > kBitmapDirectorySizeMax) {
    return corrupt(fmt::format(
        "bitmaps_ext: bitmap directory size ({}) exceeds the maximum supported size ({})",
        extension.directory_size, kBitmapDirectorySizeMax));
  }
  if (extension.directory_size == 0) return corrupt("Requested bitmap directory size is zero");
  return {};
}

class DirectoryParser {
 public:
  DirectoryParser(const Header& header, std::span<const std::byte> bytes)
      : header_(header), bytes_(bytes) {}

  Result<std::vector<BitmapEntry>> parse() {
    while (at_ < bytes_.size()) {
      if (Result<void> read = read_entry(); !read) return fail(std::move(read.error()));
    }
    if (entries_.size() == header_.bitmaps->count) return std::move(entries_);
    return corrupt("Less bitmaps found than specified in header extension");
  }

 private:
  Result<void> read_entry();
  Result<void> check_entry(const DiskBitmapEntry& disk, const std::string& name) const;

  const Header& header_;
  std::span<const std::byte> bytes_;
  std::size_t at_ = 0;
  std::vector<BitmapEntry> entries_;
  std::unordered_set<std::string> names_;
};

Result<void> DirectoryParser::read_entry() {
  DiskBitmapEntry disk{};
  if (!in_bounds(at_, sizeof disk, bytes_.size())) return corrupt("Broken bitmap directory");
  if (entries_.size() == header_.bitmaps->count) {
    return corrupt("More bitmaps found than specified in header extension");
  }
  std::memcpy(&disk, bytes_.data() + at_, sizeof disk);
  const std::uint64_t extra = disk.extra_data_size;
  const std::uint64_t size = align_up(sizeof disk + extra + disk.name_size, 8);
  if (!in_bounds(at_, size, bytes_.size())) return corrupt("Broken bitmap directory");
  if (extra != 0) return fail(ErrorKind::unsupported, "Bitmap extra data is not supported");
  std::string name(reinterpret_cast<const char*>(bytes_.data() + at_ + sizeof disk),
                   disk.name_size);
  if (Result<void> good = check_entry(disk, name); !good) return good;
  if (!names_.insert(name).second) {
    return corrupt(fmt::format("Bitmap already exists: {}", name));
  }
  entries_.push_back({.name = std::move(name),
                      .table_offset = disk.bitmap_table_offset,
                      .table_size = disk.bitmap_table_size,
                      .flags = disk.flags,
                      .granularity = std::uint64_t{1} << disk.granularity_bits});
  at_ += size;
  return {};
}

Result<void> DirectoryParser::check_entry(const DiskBitmapEntry& disk,
                                          const std::string& name) const {
  const std::uint64_t offset = disk.bitmap_table_offset;
  const std::uint64_t table_size = disk.bitmap_table_size;
  const bool possible = disk.type == kTypeDirtyTracking && (disk.flags & ~kKnownFlags) == 0 &&
                        !name.empty() && name.size() <= kBitmapNameMax && !name.contains('\0') &&
                        disk.granularity_bits >= DirtyBits::kGranularityBitsMin &&
                        disk.granularity_bits <= DirtyBits::kGranularityBitsMax && offset != 0 &&
                        offset <= kMaxFileSize - kBitmapSizeMax &&
                        is_aligned(offset, header_.cluster_size()) && table_size != 0 &&
                        table_size <= kBitmapSizeMax >> header_.cluster_bits;
  if (!possible) {
    return corrupt(fmt::format("Bitmap '{}' doesn't satisfy the constraints", name));
  }
  // What was not saved after a change of the disk's size may be of any size.
  if ((disk.flags & kBitmapInUse) != 0) return {};
  const std::uint64_t granularity = std::uint64_t{1} << disk.granularity_bits;
  const Result<void> fits = check_bitmap(header_, name, granularity, header_.size);
  if (!fits || table_size < bitmap_table_size(header_, granularity, header_.size)) {
    return corrupt(fmt::format("Bitmap '{}' doesn't satisfy the constraints", name));
  }
  if (table_size == bitmap_table_size(header_, granularity, header_.size)) return {};
  return corrupt(
      fmt::format("Could not read bitmap '{}' from image: its table has {} entries, not {}", name,
                  table_size, bitmap_table_size(header_, granularity, header_.size)));
}

}  // namespace

bool has_bitmaps(const Header& header) noexcept {
  return header.bitmaps && header.autoclear(kBitmapsBit);
}

Task<std::vector<BitmapEntry>> read_bitmap_directory(const Header& header, File& file) {
  if (!has_bitmaps(header)) co_return std::vector<BitmapEntry>();
  co_await check_extension(header);
  // What the file holds bounds the memory, not what the header claims.
  const BitmapsExtension& extension = *header.bitmaps;
  const std::uint64_t file_size = co_await file.size();
  if (!in_bounds(extension.directory_offset, extension.directory_size, file_size)) {
    co_return corrupt(
        fmt::format("'{}': the bitmap directory at offset {:#x} ends past the end of the file",
                    file.name(), extension.directory_offset));
  }
  std::vector<std::byte> raw(extension.directory_size);
  co_await read_exactly(file, extension.directory_offset, raw);
  co_return DirectoryParser(header, raw).parse();
}

Result<void> check_bitmap(const Header& header, std::string_view name, std::uint64_t granularity,
                          std::uint64_t size) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << DirtyBits::kGranularityBitsMax;
  constexpr std::uint64_t kLeast = std::uint64_t{1} << DirtyBits::kGranularityBitsMin;
  if (granularity > kMost) {
    return fail(ErrorKind::too_large, fmt::format("Granularity exceeds maximum ({} bytes)", kMost));
  }
  if (granularity < kLeast) {
    return fail(ErrorKind::too_large,
                fmt::format("Granularity is under minimum ({} bytes)", kLeast));
  }
  const auto bits = static_cast<unsigned>(std::countr_zero(granularity));
  // Less than that is what QEMU takes; the table's clusters are counted there as well.
  if (align_up(DirtyBits::byte_count(size, bits), header.cluster_size()) > kBitmapSizeMax) {
    return fail(ErrorKind::too_large,
                "Too much space will be occupied by the bitmap. Use larger granularity");
  }
  if (name.size() > kBitmapNameMax) {
    return fail(ErrorKind::too_large,
                fmt::format("Name length exceeds maximum ({} characters)", kBitmapNameMax));
  }
  return {};
}

std::uint32_t bitmap_table_size(const Header& header, std::uint64_t granularity,
                                std::uint64_t size) noexcept {
  const std::uint64_t bytes =
      DirtyBits::byte_count(size, static_cast<unsigned>(std::countr_zero(granularity)));
  return static_cast<std::uint32_t>((bytes + header.cluster_size() - 1) >> header.cluster_bits);
}

std::uint64_t directory_size(std::span<const BitmapEntry> entries) noexcept {
  std::uint64_t size = 0;
  for (const BitmapEntry& entry : entries) size += entry_size(entry.name.size());
  return size;
}

std::vector<std::byte> encode_directory(std::span<const BitmapEntry> entries) {
  std::vector<std::byte> bytes(directory_size(entries));
  std::size_t at = 0;
  for (const BitmapEntry& entry : entries) {
    DiskBitmapEntry disk{};
    disk.bitmap_table_offset = entry.table_offset;
    disk.bitmap_table_size = entry.table_size;
    disk.flags = entry.flags;
    disk.type = kTypeDirtyTracking;
    disk.granularity_bits = static_cast<std::uint8_t>(std::countr_zero(entry.granularity));
    disk.name_size = static_cast<std::uint16_t>(entry.name.size());
    std::memcpy(bytes.data() + at, &disk, sizeof disk);
    std::memcpy(bytes.data() + at + sizeof disk, entry.name.data(), entry.name.size());
    at += entry_size(entry.name.size());
  }
  return bytes;
}

void update_flags(std::span<std::byte> directory, std::span<const BitmapEntry> entries) {
  std::size_t at = 0;
  for (const BitmapEntry& entry : entries) {
    const be32 flags = entry.flags;
    std::memcpy(directory.data() + at + offsetof(DiskBitmapEntry, flags), &flags, sizeof flags);
    at += entry_size(entry.name.size());
  }
}

}  // namespace platter::qcow2
