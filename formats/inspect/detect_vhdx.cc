// VHDX, as in [MS-VHDX]. Little-endian.
#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

// GUIDs as they are on disk.
constexpr std::string_view kBatRegion =
    "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"sv;
constexpr std::string_view kMetadataRegion =
    "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"sv;
constexpr std::string_view kFileParameters =
    "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"sv;
constexpr std::string_view kVirtualDiskSize =
    "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"sv;
constexpr std::string_view kPage83 =
    "\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46"sv;
constexpr std::string_view kLogicalSectorSize =
    "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"sv;
constexpr std::string_view kPhysicalSectorSize =
    "\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56"sv;
constexpr std::string_view kParentLocator =
    "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"sv;

constexpr std::array kKnownItems = {kFileParameters,    kVirtualDiskSize,    kPage83,
                                    kLogicalSectorSize, kPhysicalSectorSize, kParentLocator};

constexpr std::array kRegionTablesAt = {192 * kKiB, 256 * kKiB};
constexpr std::uint64_t kTableSize = 64 * kKiB;
constexpr std::uint64_t kEntrySize = 32;
constexpr std::uint32_t kEntriesMax = 2047;
constexpr std::uint32_t kItemsMax = 1023;
constexpr std::uint32_t kRequired = 1;
constexpr std::uint32_t kItemRequired = 4;
constexpr std::uint32_t kHasParent = 2;

class VhdxDetector {
 public:
  explicit VhdxDetector(BoundedReader& file) : file_(file) {}

  Task<Detection> detect() {
    found_.matches = true;
    std::vector<std::byte> table;
    for (const std::uint64_t at : kRegionTablesAt) {
      table = co_await file_.read(at, kTableSize);
      if (Bytes(table).has(0, "regi"sv)) {
        co_await read_regions(Bytes(table), at);
        co_return std::move(found_);
      }
    }
    found_.unsafe(code::kHeader, "there is no region table", kRegionTablesAt[0]);
    co_return std::move(found_);
  }

 private:
  Task<void> read_regions(Bytes table, std::uint64_t table_at);
  Task<void> read_metadata(std::uint64_t offset, std::uint64_t length);
  Task<void> read_item(std::string_view kind, std::uint64_t at, std::uint64_t length);

  BoundedReader& file_;
  Detection found_;
};

Task<void> VhdxDetector::read_regions(Bytes table, std::uint64_t table_at) {
  const std::uint32_t count = table.le32(8);
  if (count > kEntriesMax) {
    found_.unsafe(code::kHeader, fmt::format("a region table of {} entries", count), table_at + 8);
    co_return;
  }
  bool has_metadata = false;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t at = 16 + i * kEntrySize;
    const Bytes entry = table.from(at, kEntrySize);
    const std::uint64_t offset = entry.le64(16);
    const std::uint64_t length = entry.le32(24);
    if (entry.has(0, kMetadataRegion)) {
      if (has_metadata) {
        found_.unsafe(code::kHeader, "there are two metadata regions", table_at + at);
        co_return;
      }
      has_metadata = true;
      co_await read_metadata(offset, length);
    } else if (!entry.has(0, kBatRegion) && (entry.le32(28) & kRequired) != 0) {
      found_.unsafe(code::kFeatures, "a required region is not known", table_at + at);
      co_return;
    }
    if (!in_bounds(offset, length, file_.file_size())) {
      found_.unsafe(code::kTruncated, "a region lies past the end of the file", table_at + at);
      co_return;
    }
  }
  if (!has_metadata) found_.unsafe(code::kHeader, "there is no metadata region", table_at);
}

Task<void> VhdxDetector::read_metadata(std::uint64_t offset, std::uint64_t length) {
  const std::vector<std::byte> bytes = co_await file_.read(offset, std::min(length, kTableSize));
  const Bytes table(bytes);
  const std::uint32_t count = table.le16(10);
  if (!table.has(0, "metadata"sv) || count > kItemsMax) {
    found_.unsafe(code::kHeader, "the metadata table is damaged", offset);
    co_return;
  }
  // Each item of a kind once, so that no more is read than there are kinds.
  std::array<bool, kKnownItems.size()> seen{};
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t at = 32 + i * kEntrySize;
    const Bytes entry = table.from(at, kEntrySize);
    const auto known = std::ranges::find(kKnownItems, entry.from(0, 16).text());
    if (known == kKnownItems.end()) {
      if ((entry.le32(24) & kItemRequired) == 0) continue;
      found_.unsafe(code::kFeatures, "a required metadata item is not known", offset + at);
      co_return;
    }
    bool& again = seen[static_cast<std::size_t>(known - kKnownItems.begin())];
    if (again) {
      found_.unsafe(code::kHeader, "a metadata item is there twice", offset + at);
      co_return;
    }
    again = true;
    const std::uint64_t place = entry.le32(16);
    if (!in_bounds(place, entry.le32(20), length)) {
      found_.unsafe(code::kHeader, "a metadata item lies outside of its region", offset + at);
      co_return;
    }
    co_await read_item(*known, offset + place, entry.le32(20));
  }
  if (!found_.virtual_size)
    found_.unsafe(code::kHeader, "the image does not tell its size", offset);
}

Task<void> VhdxDetector::read_item(std::string_view kind, std::uint64_t at, std::uint64_t length) {
  if (kind == kParentLocator) {
    found_.unsafe(code::kParent, "the image names a parent that it stands on", at);
    co_return;
  }
  if (kind != kFileParameters && kind != kVirtualDiskSize) co_return;
  const std::vector<std::byte> bytes = co_await file_.read(at, std::min<std::uint64_t>(length, 8));
  if (bytes.size() < 8) {
    found_.unsafe(code::kTruncated, "the file ends within a metadata item", at);
  } else if (kind == kVirtualDiskSize) {
    found_.virtual_size = Bytes(bytes).le64(0);
  } else if ((Bytes(bytes).le32(4) & kHasParent) != 0) {
    found_.unsafe(code::kParent, "a differencing disk, which stands on another image", at + 4);
  }
}

}  // namespace

Task<Detection> detect_vhdx(BoundedReader& file) {
  if (!file.head().has(0, "vhdxfile"sv)) co_return Detection();
  VhdxDetector detector(file);
  co_return co_await detector.detect();
}

}  // namespace platter::inspect
