// From guest offsets to the clusters that hold them: L1 and L2 tables.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/image.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/table_cache.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Section "Compressed Clusters Descriptor": where the compressed bytes of one cluster are.
struct CompressedPlace {
  std::uint64_t offset = 0;  ///< host offset, at any byte
  std::uint64_t length = 0;  ///< bytes up to the end of the last sector touched, > 0
};
CompressedPlace compressed_place(L2Entry entry, unsigned cluster_bits) noexcept;

/// Reads one L1 table and the L2 tables below it. Belongs to its image's ring.
class ClusterMap {
 public:
  /// `data` holds the data clusters: the image file itself, or the external data file.
  ClusterMap(const Header& header, File& metadata, File& data, std::uint64_t cache_memory);

  /// Reads the L1 table. Errors: io, corrupt_image.
  Task<void> load_l1(std::uint64_t offset, std::uint32_t entries);

  /// As Image::map(), for guest bytes below the image's size; adjacent equal runs are joined.
  /// Errors: io, corrupt_image (an entry points to an impossible place).
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length, std::size_t count_max);

  /// The compressed bytes that a mapping of kind compressed speaks of (its first cluster).
  Task<CompressedPlace> find_compressed(std::uint64_t offset);

 private:
  class Collector;

  Result<std::uint64_t> l2_table(std::uint64_t offset) const;
  Task<L2Entry> entry_at(std::uint64_t table, std::uint64_t index);
  Task<bool> map_slice(std::uint64_t& offset, std::uint64_t end, std::uint64_t table,
                       Collector& out);
  Result<bool> add_entry(L2Entry entry, std::uint64_t offset, std::uint64_t length, Collector& out);
  bool add_subclusters(L2Entry entry, std::uint64_t offset, std::uint64_t length, Collector& out);
  std::unexpected<Error> corrupt(std::string_view what, std::uint64_t value,
                                 std::uint64_t guest_offset) const;

  const Header& header_;
  File& metadata_;
  File& data_;
  TableCache cache_;
  std::vector<std::uint64_t> l1_;  // host order
};

}  // namespace platter::qcow2
