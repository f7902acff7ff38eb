// The header as it is on disk, faults and all, for who looks into an image.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/qcow2/header.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// An extension of any type.
struct RawExtension {
  std::uint64_t offset = 0;  ///< of its type field, in the file
  std::uint32_t type = 0;
  std::uint32_t length = 0;     ///< bytes of data, as the field says
  std::vector<std::byte> data;  ///< fewer bytes where it does not fit
  std::optional<std::string> problem;
};

struct RawHeader {
  DiskHeader disk{};                ///< version 2: what follows its fields is zero
  std::uint64_t file_size = 0;      ///< bytes
  std::uint64_t header_length = 0;  ///< as this version has it, or says
  std::vector<std::byte> unknown_fields;
  std::vector<RawExtension> extensions;
  std::optional<std::string> backing_file;
  std::vector<std::string> problems;
  /// What tables are looked at with: fields as they are, nothing promised but the bounds of the cluster
  /// bits, of the reference counts' width, and that the version is 2 or 3. Nothing: there is no saying
  /// where anything lies.
  std::optional<Header> geometry;
};

/// Reads at most the first cluster, 2 MiB. Whatever is wrong is a problem, not an error.
/// Errors: io; unknown_format where not even the magic is there.
Task<RawHeader> read_raw_header(File& file);

/// "backing-format", ...; "unknown".
std::string_view extension_name(std::uint32_t type) noexcept;

enum class FeatureKind : std::uint8_t { incompatible = 0, compatible = 1, autoclear = 2 };
/// The names of the bits that are set: known ones, then "bit N".
std::vector<std::string> feature_names(FeatureKind kind, std::uint64_t bits);

}  // namespace platter::qcow2
