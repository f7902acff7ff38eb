#include "formats/qcow2/header_encode.h"

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include <fmt/format.h>

#include "formats/qcow2/format.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// Section "Feature name table": the bits that this code knows, so that software that does not can
// name them.
constexpr DiskFeatureName kFeatureNames[] = {
    {0, kDirtyBit, "dirty bit"},
    {0, kCorruptBit, "corrupt bit"},
    {0, kDataFileBit, "external data file"},
    {0, kCompressionTypeBit, "compression type"},
    {0, kExtendedL2Bit, "extended L2 entries"},
    {1, kLazyRefcountsBit, "lazy refcounts"},
    {2, kBitmapsBit, "bitmaps"},
    {2, kRawDataFileBit, "raw external data"},
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class Encoder {
 public:
  explicit Encoder(const Header& header) : header_(header) {}

  Result<std::vector<std::byte>> encode() {
    if (header_.version == 2 && has_version_3_fields()) {
      return fail(ErrorKind::invalid_argument, "a version 2 header has no room for these features");
    }
    if (header_.backing_file && header_.backing_file->size() > kBackingNameMax) {
      return fail(ErrorKind::too_large,
                  fmt::format("Backing file name of {} bytes: {} are the most",
                              header_.backing_file->size(), kBackingNameMax));
    }
    add_fields();
    add_extensions();
    add_backing_name();
    if (bytes_.size() <= header_.cluster_size()) return std::move(bytes_);
    return fail(ErrorKind::no_space,
                fmt::format("The header needs {} bytes, more than the {} of a cluster",
                            bytes_.size(), header_.cluster_size()));
  }

 private:
  bool has_version_3_fields() const {
    return (header_.incompatible_features | header_.compatible_features |
            header_.autoclear_features) != 0 ||
           header_.refcount_order != 4 || header_.compression_type != CompressionType::zlib ||
           !header_.unknown_fields.empty();
  }
  void add_fields();
  void add_extensions();
  void add_backing_name();
  void add(std::span<const std::byte> data) {
    bytes_.insert(bytes_.end(), data.begin(), data.end());
  }
  void add_extension(std::uint32_t type, std::span<const std::byte> data) {
    const DiskExtension extension{.type = type, .length = static_cast<std::uint32_t>(data.size())};
    add(std::as_bytes(std::span(&extension, 1)));
    add(data);
    bytes_.resize(bytes_.size() + align_up(data.size(), 8) - data.size());
  }

  const Header& header_;
  std::vector<std::byte> bytes_;
};

void Encoder::add_fields() {
  DiskHeader disk{};
  disk.magic = kMagic;
  disk.version = header_.version;
  disk.cluster_bits = header_.cluster_bits;
  disk.crypt_method = static_cast<std::uint32_t>(header_.crypt_method);
  update_header(header_, disk);
  const auto fields = std::as_bytes(std::span(&disk, 1));
  if (header_.version == 2) return add(fields.first(kVersion2HeaderLength));
  disk.refcount_order = header_.refcount_order;
  disk.header_length =
      static_cast<std::uint32_t>(sizeof(DiskHeader) + header_.unknown_fields.size());
  disk.compression_type = static_cast<std::uint8_t>(header_.compression_type);
  add(fields);
  add(header_.unknown_fields);
}

void Encoder::add_extensions() {
  if (header_.backing_format) {
    add_extension(kExtensionBackingFormat, bytes_of(*header_.backing_format));
  }
  if (header_.data_file) add_extension(kExtensionDataFile, bytes_of(*header_.data_file));
  if (const auto& crypt = header_.crypt_header) {
    const DiskCryptHeader disk{.offset = crypt->offset, .length = crypt->length};
    add_extension(kExtensionCryptHeader, std::as_bytes(std::span(&disk, 1)));
  }
  if (header_.version >= 3 && header_.cluster_size() > kNoFeatureNamesSize) {
    add_extension(kExtensionFeatureNames, std::as_bytes(std::span(kFeatureNames)));
  }
  if (const auto& bitmaps = header_.bitmaps) {
    const DiskBitmapsExtension disk{.nb_bitmaps = bitmaps->count,
                                    .reserved = 0,
                                    .bitmap_directory_size = bitmaps->directory_size,
                                    .bitmap_directory_offset = bitmaps->directory_offset};
    add_extension(kExtensionBitmaps, std::as_bytes(std::span(&disk, 1)));
  }
  for (const UnknownExtension& extension : header_.unknown_extensions) {
    add_extension(extension.type, extension.data);
  }
  add_extension(kExtensionEnd, {});
}

void Encoder::add_backing_name() {
  if (!header_.backing_file) return;
  const DiskHeader place{
      .backing_file_offset = bytes_.size(),
      .backing_file_size = static_cast<std::uint32_t>(header_.backing_file->size())};
  constexpr std::size_t kAt = offsetof(DiskHeader, backing_file_offset);
  constexpr std::size_t kLength = offsetof(DiskHeader, cluster_bits) - kAt;
  std::memcpy(bytes_.data() + kAt, reinterpret_cast<const std::byte*>(&place) + kAt, kLength);
  add(bytes_of(*header_.backing_file));
}

}  // namespace

Result<std::vector<std::byte>> encode_header(const Header& header) {
  return Encoder(header).encode();
}

void update_header(const Header& header, DiskHeader& disk) {
  disk.size = header.size;
  disk.l1_size = header.l1_size;
  disk.l1_table_offset = header.l1_table_offset;
  disk.refcount_table_offset = header.refcount_table_offset;
  disk.refcount_table_clusters = header.refcount_table_clusters;
  disk.nb_snapshots = header.snapshot_count;
  disk.snapshots_offset = header.snapshots_offset;
  if (header.version < 3) return;
  disk.incompatible_features = header.incompatible_features;
  disk.compatible_features = header.compatible_features;
  disk.autoclear_features = header.autoclear_features;
}

}  // namespace platter::qcow2
