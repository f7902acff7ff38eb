#include "formats/qcow2/header.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kKnownIncompatible = (1U << kDirtyBit) | (1U << kCorruptBit) |
                                             (1U << kDataFileBit) | (1U << kCompressionTypeBit) |
                                             (1U << kExtendedL2Bit);

std::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorKind::corrupt_image, std::move(message));
}
std::unexpected<Error> unsupported(std::string message) {
  return fail(ErrorKind::unsupported, std::move(message));
}

template <class Struct>
Struct load(std::span<const std::byte> bytes) {
  Struct loaded{};
  const std::size_t count = std::min(sizeof loaded, bytes.size());
  if (count > 0) std::memcpy(&loaded, bytes.data(), count);
  return loaded;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The fields that decide how the rest is read.
Result<void> check_basics(const DiskHeader& disk) {
  if (disk.magic != kMagic) {
    return fail(ErrorKind::unknown_format, "Image is not in qcow2 format");
  }
  if (disk.version != 2 && disk.version != 3) {
    return unsupported(fmt::format("Unsupported qcow2 version {}", std::uint32_t{disk.version}));
  }
  const std::uint32_t bits = disk.cluster_bits;
  if (bits < kClusterBitsMin || bits > kClusterBitsMax) {
    return unsupported(fmt::format("Unsupported cluster size: 2^{}", bits));
  }
  return {};
}

class Parser {
 public:
  Parser(std::span<const std::byte> area, HeaderUse use)
      : area_(area), use_(use), disk_(load<DiskHeader>(area)) {}

  Result<Header> parse() {
    for (const auto step : {&Parser::read_version, &Parser::read_extensions, &Parser::read_features,
                            &Parser::read_geometry, &Parser::read_tables, &Parser::read_names}) {
      if (Result<void> done = (this->*step)(); !done) return fail(std::move(done.error()));
    }
    return std::move(header_);
  }

 private:
  Result<void> read_version();
  Result<void> read_extensions();
  Result<void> read_extension(std::uint32_t type, std::span<const std::byte> data);
  Result<void> read_features();
  Result<void> read_geometry();
  Result<void> read_tables();
  Result<void> read_names();
  Result<void> check_table(std::uint64_t offset, std::uint64_t size, std::string_view name) const;
  std::string feature_name(unsigned bit) const;

  Result<void> read_bitmaps(std::span<const std::byte> data);
  Result<void> read_crypt_header(std::span<const std::byte> data);

  std::span<const std::byte> area_;
  HeaderUse use_;
  DiskHeader disk_;
  Header header_;
  std::uint64_t header_length_ = kVersion2HeaderLength;
  std::vector<DiskFeatureName> feature_names_;
};

Result<void> Parser::read_version() {
  if (auto basics = check_basics(disk_); !basics) return basics;
  header_.version = disk_.version;
  header_.cluster_bits = disk_.cluster_bits;
  if (header_.version == 2) return {};
  header_length_ = disk_.header_length;
  if (header_length_ < kVersion3HeaderLength) return corrupt("qcow2 header too short");
  if (header_length_ > header_.cluster_size()) return corrupt("qcow2 header exceeds cluster size");
  if (header_length_ > sizeof(DiskHeader)) {
    if (header_length_ > area_.size()) return corrupt("the file ends within the qcow2 header");
    const auto rest = area_.first(header_length_).subspan(sizeof(DiskHeader));
    header_.unknown_fields.assign(rest.begin(), rest.end());
  }
  header_.incompatible_features = disk_.incompatible_features;
  header_.compatible_features = disk_.compatible_features;
  header_.autoclear_features = disk_.autoclear_features;
  return {};
}

Result<void> Parser::read_extensions() {
  const std::uint64_t backing = disk_.backing_file_offset;
  if (backing > header_.cluster_size()) return corrupt("Invalid backing file offset");
  // Extensions end where the backing file's name begins.
  const std::uint64_t end =
      std::min<std::uint64_t>(backing != 0 ? backing : header_.cluster_size(), area_.size());
  std::uint64_t at = header_length_;
  while (at + sizeof(DiskExtension) <= end) {
    const auto extension = load<DiskExtension>(area_.subspan(at));
    if (extension.type == kExtensionEnd) return {};
    at += sizeof(DiskExtension);
    const std::uint64_t length = extension.length;
    if (length > end - at) return corrupt("Header extension too large");
    if (auto read = read_extension(extension.type, area_.subspan(at, length)); !read) return read;
    at += align_up(length, 8);
  }
  return {};
}

Result<void> Parser::read_extension(std::uint32_t type, std::span<const std::byte> data) {
  switch (type) {
    case kExtensionBackingFormat: header_.backing_format = text_of(data); break;
    case kExtensionDataFile: header_.data_file = text_of(data); break;
    case kExtensionFeatureNames:
      for (; data.size() >= sizeof(DiskFeatureName); data = data.subspan(sizeof(DiskFeatureName))) {
        feature_names_.push_back(load<DiskFeatureName>(data));
      }
      break;
    case kExtensionBitmaps: return read_bitmaps(data);
    case kExtensionCryptHeader: return read_crypt_header(data);
    default: header_.unknown_extensions.push_back({type, {data.begin(), data.end()}});
  }
  return {};
}

Result<void> Parser::read_bitmaps(std::span<const std::byte> data) {
  if (data.size() != sizeof(DiskBitmapsExtension)) {
    return corrupt("bitmaps_ext: Invalid extension length");
  }
  const auto bitmaps = load<DiskBitmapsExtension>(data);
  if (bitmaps.reserved != 0 && header_.autoclear(kBitmapsBit)) {
    return corrupt("bitmaps_ext: Reserved field is not zero");
  }
  header_.bitmaps = BitmapsExtension{.count = bitmaps.nb_bitmaps,
                                     .directory_offset = bitmaps.bitmap_directory_offset,
                                     .directory_size = bitmaps.bitmap_directory_size};
  return {};
}

Result<void> Parser::read_crypt_header(std::span<const std::byte> data) {
  if (disk_.crypt_method != static_cast<std::uint32_t>(CryptMethod::luks)) {
    return corrupt("CRYPTO header extension only expected with LUKS encryption method");
  }
  if (data.size() != sizeof(DiskCryptHeader)) {
    return corrupt(fmt::format("CRYPTO header extension size {}, but expected size {}", data.size(),
                               sizeof(DiskCryptHeader)));
  }
  const auto crypt = load<DiskCryptHeader>(data);
  header_.crypt_header = {.offset = crypt.offset, .length = crypt.length};
  return check_table(crypt.offset, crypt.length, "Encryption header");
}

std::string Parser::feature_name(unsigned bit) const {
  for (const DiskFeatureName& entry : feature_names_) {
    if (entry.type == 0 && entry.bit == bit) {
      return {entry.name, ::strnlen(entry.name, sizeof entry.name)};
    }
  }
  return fmt::format("Unknown incompatible feature: {:x}", std::uint64_t{1} << bit);
}

Result<void> Parser::read_features() {
  std::string names;
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t mask = std::uint64_t{1} << bit;
    if ((header_.incompatible_features & mask & ~kKnownIncompatible) == 0) continue;
    names += (names.empty() ? "" : ", ") + feature_name(bit);
  }
  // By the bits, not by the names: an image may give a feature an empty one.
  if ((header_.incompatible_features & ~kKnownIncompatible) != 0)
    return unsupported("Unsupported qcow2 feature(s): " + names);

  const bool has_type = header_length_ > kVersion3HeaderLength;
  const unsigned type = has_type ? disk_.compression_type : 0;
  if ((type != 0) != header_.incompatible(kCompressionTypeBit)) {
    return corrupt(type != 0 ? "qcow2: Compression type incompatible feature bit must be set"
                             : "qcow2: Compression type incompatible feature bit must not be set");
  }
  if (type > 1) return unsupported(fmt::format("qcow2: unknown compression type: {}", type));
  header_.compression_type = static_cast<CompressionType>(type);
  if (header_.extended_l2() && header_.cluster_bits < kExtendedL2ClusterBitsMin) {
    return unsupported(fmt::format("Extended L2 entries need clusters of {} bytes or more",
                                   1U << kExtendedL2ClusterBitsMin));
  }
  return {};
}

Result<void> Parser::read_geometry() {
  header_.refcount_order = header_.version == 2 ? 4 : std::uint32_t{disk_.refcount_order};
  if (header_.refcount_order > kRefcountOrderMax) {
    return unsupported("Reference count entry width too large; may not exceed 64 bits");
  }
  const std::uint32_t crypt = disk_.crypt_method;
  if (crypt > 2) return unsupported(fmt::format("Unsupported encryption method {}", crypt));
  header_.crypt_method = static_cast<CryptMethod>(crypt);

  // Whole sectors, as QEMU has it.
  header_.size = align_down(disk_.size, kSectorSize);
  if (header_.size > kMaxFileSize) return corrupt("Image size is too large");
  header_.l1_size = disk_.l1_size;
  if (header_.l1_size > kL1SizeMax / sizeof(std::uint64_t)) {
    return corrupt("Active L1 table too large");
  }
  const unsigned covered_bits = header_.cluster_bits + header_.l2_bits();
  const std::uint64_t needed = (header_.size >> covered_bits) +
                               ((header_.size & ((std::uint64_t{1} << covered_bits) - 1)) != 0);
  if (needed > header_.l1_size) return corrupt("L1 table is too small");
  return {};
}

Result<void> Parser::check_table(std::uint64_t offset, std::uint64_t size,
                                 std::string_view name) const {
  const auto end = checked_add(offset, size);
  if (is_aligned(offset, header_.cluster_size()) && end && *end <= kMaxFileSize) return {};
  return corrupt(fmt::format("{} offset invalid", name));
}

Result<void> Parser::read_tables() {
  header_.l1_table_offset = disk_.l1_table_offset;
  const std::uint64_t l1_bytes = std::uint64_t{header_.l1_size} * sizeof(std::uint64_t);
  if (auto ok = check_table(header_.l1_table_offset, l1_bytes, "Active L1 table"); !ok) return ok;

  header_.refcount_table_offset = disk_.refcount_table_offset;
  header_.refcount_table_clusters = disk_.refcount_table_clusters;
  const std::uint64_t refcount_bytes = std::uint64_t{header_.refcount_table_clusters}
                                       << header_.cluster_bits;
  if (refcount_bytes > kRefcountTableSizeMax) return corrupt("Reference count table too large");
  if (auto ok = check_table(header_.refcount_table_offset, refcount_bytes, "Reference count table");
      !ok) {
    return ok;
  }
  header_.snapshot_count = disk_.nb_snapshots;
  header_.snapshots_offset = disk_.snapshots_offset;
  if (use_ == HeaderUse::check) return {};
  if (header_.snapshot_count > kSnapshotsMax) return corrupt("Snapshot table too large");
  if (header_.snapshot_count == 0) return {};
  return check_table(header_.snapshots_offset, 0, "Snapshot table");
}

Result<void> Parser::read_names() {
  if (disk_.backing_file_offset != 0) {
    const std::uint32_t length = disk_.backing_file_size;
    const std::uint64_t room = header_.cluster_size() - disk_.backing_file_offset;
    if (length > kBackingNameMax || length > room) return corrupt("Backing file name too long");
    if (!in_bounds(disk_.backing_file_offset, length, area_.size())) {
      return corrupt("Could not read backing file name");
    }
    header_.backing_file = text_of(area_.subspan(disk_.backing_file_offset, length));
  }
  return {};
}

}  // namespace

Result<std::size_t> header_area(std::span<const std::byte> start) {
  const auto disk = load<DiskHeader>(start);
  if (auto basics = check_basics(disk); !basics) return fail(std::move(basics.error()));
  return std::size_t{1} << disk.cluster_bits;
}

Result<Header> parse_header(std::span<const std::byte> area, HeaderUse use) {
  return Parser(area, use).parse();
}

}  // namespace platter::qcow2
