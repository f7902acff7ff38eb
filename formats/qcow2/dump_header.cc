#include "formats/qcow2/dump_header.h"

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kStart = 4 * kKiB;  // what is read first
constexpr std::size_t kExtensionsMax = 4096;

struct KnownFeature {
  FeatureKind kind;
  unsigned bit;
  std::string_view name;
};
constexpr std::array kFeatures = {
    KnownFeature{FeatureKind::incompatible, kDirtyBit, "dirty"},
    KnownFeature{FeatureKind::incompatible, kCorruptBit, "corrupt"},
    KnownFeature{FeatureKind::incompatible, kDataFileBit, "data-file"},
    KnownFeature{FeatureKind::incompatible, kCompressionTypeBit, "compression-type"},
    KnownFeature{FeatureKind::incompatible, kExtendedL2Bit, "extended-l2"},
    KnownFeature{FeatureKind::compatible, kLazyRefcountsBit, "lazy-refcounts"},
    KnownFeature{FeatureKind::autoclear, kBitmapsBit, "bitmaps"},
    KnownFeature{FeatureKind::autoclear, kRawDataFileBit, "raw-data-file"},
};

Task<std::vector<std::byte>> read_start(File& file, std::size_t length) {
  std::vector<std::byte> bytes(length);
  bytes.resize(co_await file.read(0, bytes));
  co_return bytes;
}

void read_extensions(std::span<const std::byte> area, RawHeader& header) {
  const std::uint64_t backing = header.disk.backing_file_offset;
  const std::uint64_t end =
      backing != 0 ? std::min<std::uint64_t>(backing, area.size()) : area.size();
  std::uint64_t at = header.header_length;
  while (at + sizeof(DiskExtension) <= end) {
    if (header.extensions.size() == kExtensionsMax) {
      header.problems.emplace_back("there are more extensions than are shown");
      return;
    }
    DiskExtension disk{};
    std::memcpy(&disk, area.data() + at, sizeof disk);
    if (disk.type == kExtensionEnd) return;
    RawExtension extension{.offset = at, .type = disk.type, .length = disk.length};
    at += sizeof disk;
    const std::uint64_t there = std::min<std::uint64_t>(extension.length, end - at);
    const auto data = area.subspan(at, there);
    extension.data.assign(data.begin(), data.end());
    const bool fits = there == extension.length;
    if (!fits) extension.problem = "it is longer than what there is room for";
    header.extensions.push_back(std::move(extension));
    if (!fits) return;
    at += align_up(there, 8);
  }
}

void read_backing_name(std::span<const std::byte> area, RawHeader& header) {
  const std::uint64_t offset = header.disk.backing_file_offset;
  if (offset == 0) return;
  const std::uint64_t length = header.disk.backing_file_size;
  if (length > kBackingNameMax || !in_bounds(offset, length, area.size())) {
    header.problems.push_back(
        fmt::format("the backing file's name ({} bytes at offset {:#x}) has no possible place",
                    length, offset));
    return;
  }
  header.backing_file = std::string(reinterpret_cast<const char*>(area.data()) + offset, length);
}

// Fields as they are.
std::optional<Header> geometry_of(const RawHeader& raw) {
  const DiskHeader& disk = raw.disk;
  Header header;
  header.version = disk.version;
  header.cluster_bits = disk.cluster_bits;
  header.refcount_order = header.version == 2 ? 4 : std::uint32_t{disk.refcount_order};
  if ((header.version != 2 && header.version != 3) || header.cluster_bits < kClusterBitsMin ||
      header.cluster_bits > kClusterBitsMax || header.refcount_order > kRefcountOrderMax) {
    return std::nullopt;
  }
  header.size = disk.size;
  header.crypt_method = static_cast<CryptMethod>(std::uint32_t{disk.crypt_method});
  header.l1_table_offset = disk.l1_table_offset;
  header.l1_size = disk.l1_size;
  header.refcount_table_offset = disk.refcount_table_offset;
  header.refcount_table_clusters = disk.refcount_table_clusters;
  header.snapshot_count = disk.nb_snapshots;
  header.snapshots_offset = disk.snapshots_offset;
  header.incompatible_features = disk.incompatible_features;
  header.compatible_features = disk.compatible_features;
  header.autoclear_features = disk.autoclear_features;
  for (const RawExtension& extension : raw.extensions) {
    if (extension.type == kExtensionBitmaps &&
        extension.data.size() == sizeof(DiskBitmapsExtension)) {
      DiskBitmapsExtension bitmaps{};
      std::memcpy(&bitmaps, extension.data.data(), sizeof bitmaps);
      header.bitmaps = BitmapsExtension{.count = bitmaps.nb_bitmaps,
                                        .directory_offset = bitmaps.bitmap_directory_offset,
                                        .directory_size = bitmaps.bitmap_directory_size};
    }
    if (extension.type == kExtensionCryptHeader &&
        extension.data.size() == sizeof(DiskCryptHeader)) {
      DiskCryptHeader crypt{};
      std::memcpy(&crypt, extension.data.data(), sizeof crypt);
      header.crypt_header = {.offset = crypt.offset, .length = crypt.length};
    }
  }
  return header;
}

}  // namespace

Task<RawHeader> read_raw_header(File& file) {
  RawHeader header;
  header.file_size = co_await file.size();
  std::vector<std::byte> area = co_await read_start(file, kStart);
  const Result<std::size_t> wanted = header_area(area);
  if (wanted && *wanted > kStart) area = co_await read_start(file, *wanted);
  if (wanted && *wanted < area.size()) area.resize(*wanted);
  std::memcpy(&header.disk, area.data(), std::min(sizeof header.disk, area.size()));
  if (header.disk.magic != kMagic) {
    co_return fail(ErrorKind::unknown_format, "Image is not in qcow2 format");
  }
  header.header_length = kVersion2HeaderLength;
  if (header.disk.version >= 3) header.header_length = header.disk.header_length;
  const std::size_t known = std::min<std::size_t>(sizeof header.disk, header.header_length);
  std::memset(reinterpret_cast<std::byte*>(&header.disk) + known, 0, sizeof header.disk - known);
  if (header.header_length > sizeof header.disk && header.header_length <= area.size()) {
    const auto rest = std::span(area).first(header.header_length).subspan(sizeof header.disk);
    header.unknown_fields.assign(rest.begin(), rest.end());
  }
  // What an opener would say, first.
  if (const Result<Header> parsed = parse_header(area); !parsed) {
    header.problems.push_back(parsed.error().message());
  }
  read_extensions(area, header);
  read_backing_name(area, header);
  header.geometry = geometry_of(header);
  co_return header;
}

std::string_view extension_name(std::uint32_t type) noexcept {
  switch (type) {
    case kExtensionBackingFormat: return "backing-format";
    case kExtensionFeatureNames: return "feature-names";
    case kExtensionBitmaps: return "bitmaps";
    case kExtensionCryptHeader: return "encryption-header";
    case kExtensionDataFile: return "data-file";
    default: return "unknown";
  }
}

std::vector<std::string> feature_names(FeatureKind kind, std::uint64_t bits) {
  std::vector<std::string> names;
  for (const KnownFeature& feature : kFeatures) {
    const std::uint64_t mask = std::uint64_t{1} << feature.bit;
    if (feature.kind != kind || (bits & mask) == 0) continue;
    names.emplace_back(feature.name);
    bits &= ~mask;
  }
  for (unsigned bit = 0; bit < 64; ++bit) {
    if (((bits >> bit) & 1) != 0) names.push_back(fmt::format("bit {}", bit));
  }
  return names;
}

}  // namespace platter::qcow2
