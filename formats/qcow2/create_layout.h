// Where everything of a new image lies.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "formats/image.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/layout_allocator.h"
#include "io/error.h"

namespace platter::qcow2 {

/// Guest clusters that lie one after the other in the file, too.
struct DataRun {
  std::uint64_t guest_cluster = 0;
  std::uint64_t host_cluster = 0;
  std::uint64_t count = 0;
};

/// All of an image's metadata, as numbers. Memory: 16 bytes for each L2 table.
struct Layout {
  std::uint64_t l1_cluster = 0;  ///< 0: none
  std::uint32_t l1_size = 0;     ///< entries
  /// The cluster of each L2 table; empty without preallocation.
  std::vector<std::uint64_t> l2_tables;
  /// In guest order; empty without preallocation, and with an external data file, where every
  /// cluster lies at its guest offset.
  std::vector<DataRun> data;
  std::uint64_t refcount_table_cluster = 0;
  /// By index, the cluster of each refcount block, 0: none. Fills whole clusters.
  std::vector<std::uint64_t> refcount_blocks;
  ClusterSet used;  ///< their count is 1, all others' is 0
  /// Clusters where an earlier refcount table stood: QEMU leaves its entries there.
  std::map<std::uint64_t, std::vector<std::uint64_t>> abandoned;
  /// Bytes: where data clusters lie that are to be reserved or filled with zeroes.
  std::uint64_t reserve_begin = 0;
  std::uint64_t reserve_end = 0;
  /// Bytes, in the file of the data clusters: what is mapped behind the end of the disk, and is
  /// written as zeroes.
  std::uint64_t tail_begin = 0;
  std::uint64_t tail_end = 0;
  std::uint64_t file_size = 0;  ///< bytes
};

/// Plans an image with this header's geometry, in the order in which QEMU 7.2 allocates.
/// Errors: too_large.
Result<Layout> plan_layout(const Header& header, Preallocation preallocation);

}  // namespace platter::qcow2
