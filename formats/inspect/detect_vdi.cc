// VDI (VirtualBox), version 1.1. Little-endian.
#include <algorithm>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kSignatureAt = 64;
constexpr std::uint64_t kVersionAt = 68;
constexpr std::uint64_t kTypeAt = 76;
constexpr std::uint64_t kMapAt = 340;
constexpr std::uint64_t kDataAt = 344;
constexpr std::uint64_t kDiskSizeAt = 368;
constexpr std::uint64_t kBlockSizeAt = 376;
constexpr std::uint64_t kBlocksAt = 384;
constexpr std::uint64_t kLinkAt = 424;
constexpr std::uint64_t kHeaderEnd = 456;
constexpr std::uint32_t kDynamic = 1;
constexpr std::uint32_t kStatic = 2;

void check_links(const Bytes& head, Detection& found) {
  const std::uint32_t type = head.le32(kTypeAt);
  if (type != kDynamic && type != kStatic) {
    found.unsafe(code::kParent,
                 fmt::format("an image of type {}, which stands on another one", type), kTypeAt);
    return;
  }
  // The uuids of the image linked to and of its parent.
  const Bytes links = head.from(kLinkAt, kHeaderEnd - kLinkAt);
  const bool linked =
      std::ranges::any_of(links.span(), [](std::byte byte) { return byte != std::byte{0}; });
  if (linked) found.unsafe(code::kParent, "the image is linked to another one", kLinkAt);
}

void check_geometry(const Bytes& head, std::uint64_t file_size, Detection& found) {
  const std::uint64_t block = head.le32(kBlockSizeAt);
  const std::uint64_t blocks = head.le32(kBlocksAt);
  const std::uint64_t map_size = blocks * 4;
  if (block == 0 || blocks * block < head.le64(kDiskSizeAt)) {
    found.unsafe(code::kHeader,
                 fmt::format("{} blocks of {} bytes are fewer than the disk has", blocks, block),
                 kBlockSizeAt);
  }
  if (!in_bounds(head.le32(kMapAt), map_size, file_size) || head.le32(kDataAt) > file_size) {
    found.unsafe(code::kTruncated, "the block map or the data lies past the end of the file",
                 kMapAt);
  }
}

}  // namespace

Task<Detection> detect_vdi(BoundedReader& file) {
  Detection found;
  const Bytes head = file.head();
  if (!head.has(kSignatureAt, "\x7f\x10\xda\xbe"sv)) co_return found;
  found.matches = true;
  const std::uint32_t version = head.le32(kVersionAt);
  if (version != 0x00010001) {
    found.unsafe(
        code::kVersion,
        fmt::format("VDI version {}.{}; only 1.1 is taken", version >> 16, version & 0xffff),
        kVersionAt);
    co_return found;
  }
  found.virtual_size = head.le64(kDiskSizeAt);
  check_links(head, found);
  check_geometry(head, file.file_size(), found);
  co_return found;
}

}  // namespace platter::inspect
