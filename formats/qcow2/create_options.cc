#include "formats/qcow2/create_options.h"

#include <bit>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

std::unexpected<Error> needs_version_3(std::string_view what, std::string_view above = "and") {
  return wrong(
      fmt::format("{} compatibility level 1.1 {} above (use version=v3 or greater)", what, above));
}

Result<void> check_clusters(const CreateOptions& options) {
  if (options.extended_l2 && options.version < 3) {
    return needs_version_3("Extended L2 entries are only supported with");
  }
  constexpr std::uint64_t kMin = std::uint64_t{1} << kClusterBitsMin;
  constexpr std::uint64_t kMax = std::uint64_t{1} << kClusterBitsMax;
  if (!std::has_single_bit(options.cluster_size) || options.cluster_size < kMin ||
      options.cluster_size > kMax) {
    return wrong(
        fmt::format("Cluster size must be a power of two between {} and {}k", kMin, kMax / kKiB));
  }
  constexpr std::uint64_t kExtendedMin = std::uint64_t{1} << kExtendedL2ClusterBitsMin;
  if (options.extended_l2 && options.cluster_size < kExtendedMin) {
    return wrong(fmt::format(
        "Extended L2 entries are only supported with cluster sizes of at least {} bytes",
        kExtendedMin));
  }
  return {};
}

Result<void> check_backing(const CreateOptions& options) {
  if (options.backing_file && options.preallocation != Preallocation::off && !options.extended_l2) {
    return wrong(
        "Backing file and preallocation can only be used at the same time if extended_l2 is on");
  }
  if (options.backing_format && !options.backing_file) {
    return wrong("Backing format cannot be used without backing file");
  }
  return {};
}

Result<void> check_refcounts(const CreateOptions& options) {
  if (options.version < 3 && options.lazy_refcounts) {
    return needs_version_3("Lazy refcounts only supported with");
  }
  constexpr std::uint64_t kBitsMax = std::uint64_t{1} << kRefcountOrderMax;
  if (!std::has_single_bit(options.refcount_bits) || options.refcount_bits > kBitsMax) {
    return wrong(
        fmt::format("Refcount width must be a power of two and may not exceed {} bits", kBitsMax));
  }
  if (options.version < 3 && options.refcount_bits != 16) {
    return needs_version_3("Different refcount widths than 16 bits require", "or");
  }
  return {};
}

Result<void> check_data(const CreateOptions& options) {
  if (options.data_file_raw && !options.data_file) {
    return wrong("data-file-raw requires data-file");
  }
  if (options.data_file_raw && options.backing_file) {
    return wrong("Backing file and data-file-raw cannot be used at the same time");
  }
  if (options.data_file && options.version < 3) {
    return needs_version_3("External data files are only supported with");
  }
  if (options.compression_type != CompressionType::zlib && options.version < 3) {
    return needs_version_3("Non-zlib compression type is only supported with");
  }
  return {};
}

}  // namespace

Result<void> check(const CreateOptions& options) {
  for (const auto step : {check_clusters, check_backing, check_refcounts, check_data}) {
    if (Result<void> done = step(options); !done) return done;
  }
  if (options.size > kMaxFileSize - kSectorSize) {
    return fail(ErrorKind::too_large, "the image size is larger than any image can be");
  }
  return {};
}

Header header_of(const CreateOptions& options) {
  const auto bit_if = [](bool set, unsigned bit) { return std::uint64_t{set} << bit; };
  Header header;
  header.version = options.version;
  header.cluster_bits = static_cast<unsigned>(std::countr_zero(options.cluster_size));
  header.size = align_up(options.size, kSectorSize);
  header.incompatible_features =
      bit_if(options.data_file.has_value(), kDataFileBit) |
      bit_if(options.compression_type != CompressionType::zlib, kCompressionTypeBit) |
      bit_if(options.extended_l2, kExtendedL2Bit);
  header.compatible_features = bit_if(options.lazy_refcounts, kLazyRefcountsBit);
  header.autoclear_features = bit_if(options.data_file_raw, kRawDataFileBit);
  header.refcount_order = static_cast<unsigned>(std::countr_zero(options.refcount_bits));
  header.compression_type = options.compression_type;
  header.backing_file = options.backing_file;
  header.backing_format = options.backing_format;
  header.data_file = options.data_file;
  return header;
}

}  // namespace platter::qcow2
