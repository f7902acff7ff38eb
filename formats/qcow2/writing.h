// All that an image needs to be written, put together.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/epochs.h"
#include "formats/qcow2/l2_tables.h"
#include "formats/qcow2/metadata_regions.h"
#include "formats/qcow2/refcounts.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/writer.h"

namespace platter::qcow2 {

/// Belongs to its image's ring; the image outlives it.
class Writing {
 public:
  struct Parts {
    Header& header;
    Image& image;
    File& file;
    File* data_file;  ///< null where guest data is in `file`
    MetadataCache& cache;
    ClusterMap& map;
    std::uint64_t bitmaps_memory_max;  ///< bytes
    bool discard_no_unref;             ///< see OpenOptions
  };
  /// Reads the refcount table and learns where metadata lies; clears what an unknown program
  /// left that writing makes untrue (autoclear bits).
  /// Errors: corrupt_image (tables that overlap, too), unsupported, io.
  static Task<std::unique_ptr<Writing>> start(const Parts& parts);

  /// As Image::resize(); waits for the requests in flight. REQUIRES: check_resize().
  Task<void> resize(std::uint64_t size, ResizeOptions options);
  /// Everything to the disk, and the file cut behind its last cluster.
  Task<void> finish();

  Header& header;
  Image& image;
  File& file;
  File* const data_file;  ///< null where guest data is in `file`
  MetadataCache& cache;
  ClusterMap& map;
  Refcounts refcounts;
  MetadataRegions regions;
  ClusterAllocator allocator;
  Epochs epochs;
  L2Tables tables;
  Writer writer;
  Bitmaps bitmaps;

 private:
  explicit Writing(const Parts& parts);
  Task<void> learn_regions();
  Task<void> wait_for_requests();
  Task<void> resize_disk(std::uint64_t size, ResizeOptions options);
  Task<void> grow(std::uint64_t size, ResizeOptions options);
  Task<void> grow_l1(std::uint64_t entries);
  Task<void> clear_behind(std::uint64_t old_size, std::uint64_t size);
  Task<void> fit_data_file(std::uint64_t size);
  Task<void> shrink(std::uint64_t size);
  Task<void> forget_behind(std::uint64_t begin);
  Task<void> drop_table(std::size_t index);
};

/// Whether an image with this header can be resized to `size` bytes. Errors: invalid_argument,
/// unsupported (version 2 with snapshots), too_large.
Result<void> check_resize(const Header& header, std::uint64_t size);

}  // namespace platter::qcow2
