// qcow2, and its version 1: what QEMU's docs/interop/qcow2.txt says that matters before use.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "formats/inspect/detector.h"
#include "formats/qcow2/header.h"
#include "io/bytes.h"

namespace platter::inspect {
namespace {

using namespace std::string_view_literals;
using qcow2::Header;

constexpr std::uint64_t kKnownIncompatible =
    (1U << qcow2::kDirtyBit) | (1U << qcow2::kCorruptBit) | (1U << qcow2::kDataFileBit) |
    (1U << qcow2::kCompressionTypeBit) | (1U << qcow2::kExtendedL2Bit);
constexpr std::uint64_t kFeaturesAt = offsetof(qcow2::DiskHeader, incompatible_features);

std::string bit_list(std::uint64_t bits) {
  std::string list;
  for (unsigned bit = 0; bit < 64; ++bit) {
    if (((bits >> bit) & 1) != 0) list += (list.empty() ? "" : ", ") + std::to_string(bit);
  }
  return list;
}

// Fields that are reasons by themselves, whatever else is wrong with the header.
void check_fields(const Bytes& area, Detection& found) {
  const std::uint64_t backing = area.be64(offsetof(qcow2::DiskHeader, backing_file_offset));
  if (backing != 0) {
    const std::uint32_t length = area.be32(offsetof(qcow2::DiskHeader, backing_file_size));
    const Bytes name = area.from(backing, std::min(length, qcow2::kBackingNameMax));
    found.unsafe(code::kBackingFile, "the image has a backing file: " + quoted(name.text()),
                 backing);
  }
  if (area.be32(offsetof(qcow2::DiskHeader, version)) < 3) return;
  const std::uint64_t features = area.be64(kFeaturesAt);
  if ((features >> qcow2::kDataFileBit & 1) != 0) {
    found.unsafe(code::kDataFile, "the image's data is in another file", kFeaturesAt);
  }
  if ((features & ~kKnownIncompatible) != 0) {
    found.unsafe(code::kFeatures,
                 fmt::format("unknown incompatible feature bits: {}",
                             bit_list(features & ~kKnownIncompatible)),
                 kFeaturesAt);
  }
}

void check_place(std::uint64_t offset, std::uint64_t size, std::string_view what,
                 std::uint64_t file_size, Detection& found) {
  if (size == 0 || in_bounds(offset, size, file_size)) return;
  found.unsafe(code::kTruncated, fmt::format("the {} lies past the end of the file", what), offset);
}

void check_header(const Header& header, std::uint64_t file_size, Detection& found) {
  found.virtual_size = header.size;
  if (header.data_file && !found.has(code::kDataFile)) {
    found.unsafe(code::kDataFile, "the image names a data file: " + quoted(*header.data_file));
  }
  check_place(header.l1_table_offset, std::uint64_t{header.l1_size} * 8, "L1 table", file_size,
              found);
  check_place(header.refcount_table_offset,
              std::uint64_t{header.refcount_table_clusters} << header.cluster_bits,
              "refcount table", file_size, found);
  check_place(header.snapshots_offset, header.snapshot_count > 0 ? 1 : 0, "snapshot table",
              file_size, found);
  if (header.crypt_header) {
    check_place(header.crypt_header->offset, header.crypt_header->length, "encryption header",
                file_size, found);
  }
  if (header.crypt_method != qcow2::CryptMethod::none) {
    found.note(code::kEncrypted, "the image is encrypted");
  }
  if (header.incompatible(qcow2::kDirtyBit)) {
    found.note(code::kDirty, "the image was not closed properly");
  }
  if (header.incompatible(qcow2::kCorruptBit)) {
    found.note(code::kCorrupt, "the image is marked as corrupt");
  }
  if (header.snapshot_count > 0) {
    found.note(code::kSnapshots, fmt::format("the image has {} snapshots", header.snapshot_count));
  }
  if (header.bitmaps && header.autoclear(qcow2::kBitmapsBit)) {
    found.note(code::kBitmaps, fmt::format("the image has {} bitmaps", header.bitmaps->count));
  }
}

}  // namespace

Task<Detection> detect_qcow2(BoundedReader& file) {
  Detection found;
  const Bytes head = file.head();
  if (!head.has(0, "QFI\xfb"sv)) co_return found;
  found.matches = true;
  const std::uint32_t version = head.be32(offsetof(qcow2::DiskHeader, version));
  if (version != 2 && version != 3) {
    found.unsafe(code::kVersion, fmt::format("qcow version {}; only 2 and 3 are taken", version),
                 offsetof(qcow2::DiskHeader, version));
    // The first fields have been the same in each version so far.
    check_fields(head, found);
    co_return found;
  }
  const Result<std::size_t> size = qcow2::header_area(head.span());
  if (!size) {
    found.unsafe(code::kHeader, size.error().message(), 0);
    check_fields(head, found);
    co_return found;
  }
  const std::vector<std::byte> bytes = co_await file.read(0, *size);
  check_fields(Bytes(bytes), found);
  const Result<Header> header = qcow2::parse_header(bytes);
  if (header) {
    check_header(*header, file.file_size(), found);
  } else if (!found.has(code::kFeatures)) {
    found.unsafe(code::kHeader, header.error().message(), 0);
  }
  co_return found;
}

}  // namespace platter::inspect
