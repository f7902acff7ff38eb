// LUKS 1 and 2, as the on-disk format specifications of cryptsetup give them.
#include <bit>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;

// Version 1: fixed fields, then eight key slots.
constexpr std::uint64_t kHeaderSize = 592;
constexpr std::uint64_t kPayloadAt = 104;  // sectors
constexpr std::uint64_t kKeyBytesAt = 108;
constexpr std::uint64_t kSlotsAt = 208;
constexpr std::uint64_t kSlotSize = 48;
constexpr unsigned kSlots = 8;
constexpr std::uint32_t kSlotActive = 0x00ac71f3;
constexpr std::uint32_t kSlotUnused = 0x0000dead;
constexpr std::uint32_t kKeyBytesMax = 512;
// Version 2: two binary headers with JSON behind each.
constexpr std::uint64_t kSizeAt = 8;
constexpr std::uint64_t kOffsetAt = 256;
constexpr std::uint64_t kSizeMin = 16 * kKiB;
constexpr std::uint64_t kSizeMax = 4 * kMiB;

void check_slot(const Bytes& head, unsigned slot, std::uint64_t file_size, Detection& found) {
  const std::uint64_t at = kSlotsAt + slot * kSlotSize;
  const std::uint32_t state = head.be32(at);
  if (state == kSlotUnused) return;
  if (state != kSlotActive) {
    found.unsafe(code::kHeader, fmt::format("key slot {} is in no known state", slot), at);
    return;
  }
  const std::uint64_t material = std::uint64_t{head.be32(at + 40)} * kSectorSize;
  const auto size = checked_mul(head.be32(at + 44), head.be32(kKeyBytesAt));
  if (!size || !in_bounds(material, *size, file_size)) {
    found.unsafe(code::kTruncated,
                 fmt::format("the key material of slot {} lies past the end of the file", slot),
                 at);
  }
}

void check_version1(const BoundedReader& file, Detection& found) {
  const Bytes head = file.head();
  const std::uint64_t size = file.file_size();
  if (head.size() < kHeaderSize) {
    found.unsafe(code::kTruncated, "the file ends within the LUKS header", head.size());
    return;
  }
  const std::uint32_t key_bytes = head.be32(kKeyBytesAt);
  if (key_bytes == 0 || key_bytes > kKeyBytesMax) {
    found.unsafe(code::kHeader, fmt::format("a key of {} bytes is not possible", key_bytes),
                 kKeyBytesAt);
  }
  for (unsigned slot = 0; slot < kSlots; ++slot) check_slot(head, slot, size, found);
  const std::uint64_t payload = std::uint64_t{head.be32(kPayloadAt)} * kSectorSize;
  if (payload == 0) {
    found.unsafe(code::kHeader, "the data is in another file (a detached header)", kPayloadAt);
  } else if (payload > size) {
    found.unsafe(code::kTruncated, "the data begins past the end of the file", kPayloadAt);
  } else {
    found.virtual_size = size - payload;
  }
}

void check_version2(const BoundedReader& file, Detection& found) {
  const Bytes head = file.head();
  const std::uint64_t size = head.be64(kSizeAt);
  if (size < kSizeMin || size > kSizeMax || !std::has_single_bit(size)) {
    found.unsafe(code::kHeader, fmt::format("a header of {} bytes is not possible", size), kSizeAt);
  } else if (2 * size > file.file_size()) {
    found.unsafe(code::kTruncated, "the file ends within the LUKS headers", kSizeAt);
  }
  if (head.be64(kOffsetAt) != 0) {
    found.unsafe(code::kHeader, "the first header says that it lies elsewhere", kOffsetAt);
  }
}

}  // namespace

Task<Detection> detect_luks(BoundedReader& file) {
  Detection found;
  const Bytes head = file.head();
  if (!head.has(0, "LUKS\xba\xbe"sv)) co_return found;
  found.matches = true;
  found.note(code::kEncrypted, "the image is encrypted");
  const std::uint16_t version = head.be16(6);
  if (version == 1) {
    check_version1(file, found);
  } else if (version == 2) {
    check_version2(file, found);
  } else {
    found.unsafe(code::kVersion, fmt::format("LUKS version {}; only 1 and 2 are taken", version),
                 6);
  }
  co_return found;
}

}  // namespace platter::inspect
