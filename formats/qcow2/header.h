// A qcow2 image's header, read and checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/qcow2/format.h"
#include "io/error.h"

namespace platter::qcow2 {

/// Where the bitmap directory lies.
struct BitmapsExtension {
  std::uint32_t count = 0;
  std::uint64_t directory_offset = 0;  ///< bytes
  std::uint64_t directory_size = 0;    ///< bytes
  bool operator==(const BitmapsExtension&) const = default;
};

/// Where the LUKS header of an encrypted image lies.
struct CryptHeaderExtension {
  std::uint64_t offset = 0;  ///< bytes, a multiple of the cluster size
  std::uint64_t length = 0;  ///< bytes
  bool operator==(const CryptHeaderExtension&) const = default;
};

/// An extension that this code does not interpret; kept so that it can be written back.
struct UnknownExtension {
  std::uint32_t type = 0;
  std::vector<std::byte> data;
  bool operator==(const UnknownExtension&) const = default;
};

/// The header and its extensions in host form. After parse_header() every field is within the
/// bounds that its comment gives, and every table lies at a multiple of the cluster size, within
/// 63 bits; whether it lies within the file is known only with the file.
struct Header {
  std::uint32_t version = 3;   ///< 2 or 3
  unsigned cluster_bits = 16;  ///< 9 to 21; extended L2: 14 to 21
  std::uint64_t size = 0;      ///< guest bytes, at most 2^63 - 1; fits the L1 table
  CryptMethod crypt_method = CryptMethod::none;
  std::uint64_t l1_table_offset = 0;
  std::uint32_t l1_size = 0;  ///< entries, at most 32 MiB of them
  std::uint64_t refcount_table_offset = 0;
  std::uint32_t refcount_table_clusters = 0;  ///< at most 8 MiB of them
  std::uint32_t snapshot_count = 0;           ///< at most 65536
  std::uint64_t snapshots_offset = 0;
  std::uint64_t incompatible_features = 0;  ///< known bits only
  std::uint64_t compatible_features = 0;
  std::uint64_t autoclear_features = 0;
  unsigned refcount_order = 4;  ///< 0 to 6
  CompressionType compression_type = CompressionType::zlib;
  /// What follows the fields that this code knows, up to header_length; kept to be written back.
  std::vector<std::byte> unknown_fields;

  std::optional<std::string> backing_file;  ///< as written in the image; may be any bytes
  std::optional<std::string> backing_format;
  std::optional<std::string> data_file;
  std::optional<BitmapsExtension> bitmaps;
  std::optional<CryptHeaderExtension> crypt_header;  ///< only with CryptMethod::luks
  std::vector<UnknownExtension> unknown_extensions;

  bool operator==(const Header&) const = default;

  std::uint64_t cluster_size() const noexcept { return std::uint64_t{1} << cluster_bits; }
  bool incompatible(unsigned bit) const noexcept {
    return ((incompatible_features >> bit) & 1) != 0;
  }
  bool autoclear(unsigned bit) const noexcept { return ((autoclear_features >> bit) & 1) != 0; }
  bool extended_l2() const noexcept { return incompatible(kExtendedL2Bit); }
  bool has_data_file() const noexcept { return incompatible(kDataFileBit); }
  bool lazy_refcounts() const noexcept {
    return ((compatible_features >> kLazyRefcountsBit) & 1) != 0;
  }

  std::uint64_t l2_entry_size() const noexcept { return extended_l2() ? 16 : 8; }  ///< bytes
  /// Entries of one L2 table, as a power of two.
  unsigned l2_bits() const noexcept { return cluster_bits - (extended_l2() ? 4 : 3); }
};

/// How many bytes from the start of the file hold the header and its extensions, judged by the
/// first 512 of them (at most the first cluster: 2 MiB). Errors: as parse_header().
Result<std::size_t> header_area(std::span<const std::byte> start);

enum class HeaderUse : std::uint8_t {
  open,
  check,  ///< snapshot_count and snapshots_offset are taken as they are: a check mends them
};

/// Parses and checks. `area` holds header_area() bytes, or less where the file is shorter.
/// Errors: unknown_format (not qcow2), unsupported (features, named), corrupt_image (with the
/// field).
Result<Header> parse_header(std::span<const std::byte> area, HeaderUse use = HeaderUse::open);

}  // namespace platter::qcow2
