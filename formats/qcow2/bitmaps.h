// The persistent dirty bitmaps of an image that is being written.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/bitmap_bits.h"
#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/bitmap_table.h"
#include "formats/qcow2/epochs.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_regions.h"
#include "io/async_mutex.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

struct NewBitmap {
  std::string name;
  std::uint64_t granularity = 0;  ///< guest bytes for one bit, a power of two; 0: as QEMU chooses
  bool enabled = true;            ///< records writes
};

/// What can be known without the image. Errors: invalid_argument.
Result<void> check(const NewBitmap& wanted);

/// Bitmaps that are enabled are in memory, and record what the guest writes. On disk they say
/// "in use" from before the first write until save(): whoever finds that knows that they are not
/// complete. The others stay as they are on disk.
///
/// Operations change what is in memory; save() makes it durable, and so does the first write that
/// follows. An operation is not for beside writes: what is in flight may be recorded or not.
///
/// A crash or an error at any moment leaves on disk what was there before, or the same marked as in
/// use, or the new state; at worst clusters that are counted and not used. Where the header's
/// extension lies across two sectors, it may also leave no bitmaps.
///
/// A bitmap that was found in use (inconsistent) stays what it is until it is removed.
///
/// Belongs to its image's ring.
class Bitmaps {
 public:
  struct Parts {
    Header& header;
    File& file;
    ClusterAllocator& allocator;
    MetadataRegions& regions;
    Epochs& epochs;
    std::uint64_t memory_max;  ///< bytes for bits, tables and names
  };
  explicit Bitmaps(const Parts& parts) : p_(parts) {}

  /// Reads the directory, the tables and the bits of those that record. Learns where they lie.
  /// Errors: corrupt_image (overlaps, too), unsupported, out_of_memory, io.
  Task<void> start();

  bool empty() const noexcept { return bitmaps_.empty(); }
  /// As they will be saved, in this order. What was found in use is so here, too.
  std::vector<BitmapEntry> list() const;

  /// Whether before_write() must come before a write.
  bool records() const noexcept { return records_; }
  /// Records that the guest's range is going to change in any way. Errors: io, and those of save().
  Task<void> before_write(std::uint64_t offset, std::uint64_t length);

  /// Errors: already_exists, too_large (too many, or its bounds, in QEMU's words), unsupported
  /// (version 2), out_of_memory.
  Task<void> add(NewBitmap wanted);

  // Errors of all: not_found; corrupt_image where it is inconsistent (not of remove()); io.

  Result<void> check_usable(const std::string& name);

  Task<void> remove(std::string name);
  Task<void> clear(std::string name);
  Task<void> set_enabled(std::string name, bool enabled);
  /// Marks what is dirty in `source`. Errors: invalid_argument (for a disk of another size).
  Task<void> merge(std::string name, const DirtyBits& source);
  /// A copy of its bits.
  Task<DirtyBits> read(std::string name);

  /// Whether a disk of another size can have the same bitmaps. Errors: as the next one.
  Result<void> check_resize(std::uint64_t size) const;
  /// Before the disk gets another size: takes memory, marks all as in use.
  /// Errors: corrupt_image (one is inconsistent), too_large, out_of_memory, io.
  Task<void> prepare_resize(std::uint64_t size);
  /// The header says what the size is now.
  void finish_resize() noexcept;

  /// Makes all of it durable. On an error that is not the file's for good it may be tried again.
  /// Errors: no_space, io.
  Task<void> save();

 private:
  struct Bitmap {
    BitmapEntry entry;  // flags as they are to be saved; no table: not on disk yet
    BitmapTable table;  // as on disk
    bool knows_table = true;
    std::optional<std::uint32_t> disk_flags;  // in the directory on disk
    std::unique_ptr<DirtyBits> bits;          // null: as on disk

    bool consistent() const noexcept { return !entry.in_use(); }
    bool enabled() const noexcept { return consistent() && entry.automatic(); }
  };
  /// Clusters taken that nothing on disk refers to yet.
  struct Unpublished {
    std::vector<ClusterRun> runs;
  };
  struct Stored {
    std::size_t index = 0;  // of the bitmap
    BitmapTable table;
    ClusterRun place;  // of the table
  };

  Task<void> learn_regions();
  std::vector<std::uint64_t> table_clusters(const Bitmap& bitmap) const;
  Result<void> forget_shared_tables();
  void update_regions();

  Result<Bitmap*> find(const std::string& name, bool consistent);
  Task<void> load(Bitmap& bitmap);
  void unload(Bitmap& bitmap) noexcept;
  std::uint64_t memory_left() const noexcept {
    return p_.memory_max - std::min(p_.memory_max, memory_used_);
  }
  Result<void> check_new(const NewBitmap& wanted) const;
  Result<void> check_memory(std::uint64_t bytes) const;
  void changed();
  void update_recording();

  Task<void> mark();
  Task<void> mark_in_use(bool all);
  Task<void> write_flags(std::vector<std::uint32_t> flags);
  Task<void> save_now();
  Task<void> rewrite();
  Task<std::vector<Stored>> store_all(Unpublished& taken);
  Task<Stored> store(std::size_t index, Unpublished& taken);
  Task<BitmapTable> store_bits(const DirtyBits& bits, Unpublished& taken);
  Task<ClusterRun> store_new(std::span<const std::byte> bytes, Unpublished& taken);
  Task<std::optional<BitmapsExtension>> store_directory(const std::vector<Stored>& stored,
                                                        Unpublished& taken);
  void published(std::vector<Stored> stored, const std::optional<BitmapsExtension>& old);
  void drop(const Bitmap& bitmap);
  void drop_clusters(std::uint64_t offset, std::uint64_t size);
  std::uint64_t cluster_count(std::uint64_t size) const noexcept {
    return (size + p_.header.cluster_size() - 1) >> p_.header.cluster_bits;
  }

  Parts p_;
  std::vector<Bitmap> bitmaps_;
  std::vector<Bitmap> removed_;        // that are on disk still
  std::vector<DirtyBits*> recording_;  // of those that are enabled
  std::uint64_t memory_used_ = 0;      // bytes
  bool records_ = false;
  bool unsaved_ = false;  // an operation is not on disk
  bool marked_ = false;   // as saved, and all that record are marked as in use
  AsyncMutex mutex_;      // one operation at a time
};

}  // namespace platter::qcow2
