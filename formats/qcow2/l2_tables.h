// L2 tables that may be changed: made where there is none, copied where a snapshot shares them.
#pragma once

#include <cstdint>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/cluster_map.h"
#include "formats/qcow2/metadata_cache.h"
#include "formats/qcow2/metadata_regions.h"
#include "io/async_mutex.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Belongs to its image's ring.
class L2Tables {
 public:
  L2Tables(const Header& header, ClusterMap& map, MetadataCache& cache, ClusterAllocator& allocator,
           MetadataRegions& regions)
      : header_(header), map_(map), cache_(cache), allocator_(allocator), regions_(regions) {}

  /// The entry for a guest offset below the L1 table's end, in a table that belongs to the active
  /// L1 table alone. To be changed before the next await, with set().
  /// Errors: no_space, corrupt_image, io.
  Task<EntryRef> entry_for_write(std::uint64_t offset);

  /// Changes the entry `index` entries behind `ref`, in the same slice.
  void set(EntryRef& ref, std::size_t index, L2Entry entry);

 private:
  Task<void> add_table(std::uint64_t offset);
  Task<void> copy_table(std::uint64_t offset);
  void publish(std::uint64_t offset, std::uint64_t table);

  const Header& header_;
  ClusterMap& map_;
  MetadataCache& cache_;
  ClusterAllocator& allocator_;
  MetadataRegions& regions_;
  AsyncMutex mutex_;  // one new table at a time
};

}  // namespace platter::qcow2
