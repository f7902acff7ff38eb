// VHD ("vpc" in QEMU), as in Microsoft's "Virtual Hard Disk Image Format Specification". Big-endian.
// A dynamic image has the footer at its start, too; a fixed one only at its end.
#include <algorithm>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kCookie = "conectix";
constexpr std::uint64_t kFooterSize = 512;
constexpr std::uint64_t kVersionAt = 12;
constexpr std::uint64_t kDataOffsetAt = 16;
constexpr std::uint64_t kSizeAt = 48;
constexpr std::uint64_t kTypeAt = 60;
constexpr std::uint64_t kChecksumAt = 64;
constexpr std::uint32_t kFixed = 2;
constexpr std::uint32_t kDynamic = 3;
constexpr std::uint32_t kDifferencing = 4;

// The complement of the sum of all other bytes.
bool checksum_fits(const Bytes& part, std::uint64_t at) {
  std::uint32_t sum = 0;
  for (std::uint64_t i = 0; i < part.size(); ++i) {
    if (i < at || i >= at + 4) sum += part.u8(i);
  }
  return ~sum == part.be32(at);
}

// "Dynamic Disk Header".
Task<void> check_dynamic(BoundedReader& file, std::uint64_t at, Detection& found) {
  const std::vector<std::byte> bytes = co_await file.read(at, 1024);
  const Bytes header(bytes);
  if (!header.has(0, "cxsparse"sv) || header.size() < 1024 || !checksum_fits(header, 36)) {
    found.unsafe(code::kHeader, "the header of the dynamic disk is damaged", at);
    co_return;
  }
  const std::uint64_t entries = header.be32(28);
  if (!in_bounds(header.be64(16), entries * 4, file.file_size())) {
    found.unsafe(code::kTruncated, "the block table lies past the end of the file", at + 16);
  }
  const std::uint64_t block = header.be32(32);
  if (block < kSectorSize || (block & (block - 1)) != 0) {
    found.unsafe(code::kHeader, fmt::format("blocks of {} bytes are not possible", block), at + 32);
  } else if (found.virtual_size && entries * block < *found.virtual_size) {
    found.unsafe(code::kHeader, "the block table is too short for the disk", at + 28);
  }
}

Task<void> check_footer(BoundedReader& file, const Bytes& footer, std::uint64_t at,
                        Detection& found) {
  found.virtual_size = footer.be64(kSizeAt);
  if (!checksum_fits(footer, kChecksumAt)) {
    found.unsafe(code::kHeader, "the footer's checksum does not fit", at + kChecksumAt);
  }
  if (footer.be32(kVersionAt) >> 16 != 1) {
    found.unsafe(code::kVersion,
                 fmt::format("VHD version {:#x}; only 1.0 is taken", footer.be32(kVersionAt)),
                 at + kVersionAt);
  }
  const std::uint32_t type = footer.be32(kTypeAt);
  switch (type) {
    case kFixed: break;
    case kDifferencing:
      found.unsafe(code::kParent, "a differencing disk, which stands on another image",
                   at + kTypeAt);
      [[fallthrough]];
    case kDynamic: co_await check_dynamic(file, footer.be64(kDataOffsetAt), found); break;
    default:
      found.unsafe(code::kHeader, fmt::format("a disk of type {} is not known", type),
                   at + kTypeAt);
  }
}

}  // namespace

bool is_fixed_vhd(const BoundedReader& file) noexcept { return !file.head().has(0, kCookie); }

Task<Detection> detect_vhd(BoundedReader& file) {
  Detection found;
  const Bytes head = file.head().from(0, kFooterSize);
  if (head.has(0, kCookie)) {
    found.matches = true;
    co_await check_footer(file, head, 0, found);
    co_return found;
  }
  if (file.file_size() < 2 * kFooterSize) co_return found;
  // At the end of a file it is a mark only if all of it fits: there, a raw disk has anything.
  const std::uint64_t at = file.file_size() - kFooterSize;
  const std::vector<std::byte> bytes = co_await file.read(at, kFooterSize);
  const Bytes footer(bytes);
  if (!footer.has(0, kCookie) || !checksum_fits(footer, kChecksumAt)) co_return found;
  found.matches = true;
  co_await check_footer(file, footer, at, found);
  co_return found;
}

}  // namespace platter::inspect
