// What an L2 entry says of its cluster, as far as references go.
#pragma once

#include <cstdint>

#include "formats/qcow2/header.h"

namespace platter::qcow2 {

enum class ClusterType : std::uint8_t {
  unallocated,
  zero_plain,      ///< reads as zeroes, has no place
  zero_allocated,  ///< reads as zeroes, keeps its place
  normal,
  compressed,
};

/// The zero flag counts in version 2, too, where it should not be set.
constexpr ClusterType cluster_type(const Header& header, L2Entry entry) noexcept {
  if (entry.compressed()) return ClusterType::compressed;
  if (entry.zero_flag() && !header.extended_l2()) {
    return entry.offset() != 0 ? ClusterType::zero_allocated : ClusterType::zero_plain;
  }
  // In an external data file 0 is a place like any other: COPIED tells.
  const bool placed = entry.offset() != 0 || (header.has_data_file() && entry.copied());
  return placed ? ClusterType::normal : ClusterType::unallocated;
}
constexpr bool has_place(ClusterType type) noexcept {
  return type == ClusterType::normal || type == ClusterType::zero_allocated;
}

}  // namespace platter::qcow2
