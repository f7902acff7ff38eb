// The order in which metadata reaches the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/bitmap_header.h"
#include "formats/qcow2/entry_table.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_cache.h"
#include "io/async_mutex.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Changes of metadata gather in memory; commit() freezes copies of them and writes these so that
/// the image is whole at every instant:
///
///   1. refcount blocks, tables that nothing points to yet (guest data is written already); barrier
///   2. the refcount table's entries, or a new table and the header that names it; barrier
///   3. L2 and L1 entries in place; barrier
///   4. the header, where the L1 table moved or the size changed; barrier
///   5. in memory: counts of references that are gone are lowered. The next epoch writes them.
///
/// A stage without writes has no barrier. A barrier flushes the external data file first, then the
/// image. The worst that a crash leaves is a cluster that is counted and not used.
///
/// Counts are always right on disk, so lazy refcounts (and the dirty bit) are never needed: raised
/// ones go out with stage 1, whose barrier guest data needs anyway.
///
/// Belongs to its image's ring.
class Epochs {
 public:
  /// `header` is what the image should be; what is on disk is known only here.
  Epochs(Header& header, File& file, File* data_file, MetadataCache& cache, EntryTable& l1,
         Refcounts& refcounts, ClusterAllocator& allocator);

  /// Everything that was changed before is durable when it returns, and so is guest data. Callers
  /// that come together share an epoch. Errors: io and others of the files; after a flush that
  /// failed, always that error: see failure().
  Task<void> commit();

  /// Fields of the header's first 512 bytes were changed: written in stage 4.
  void header_changed() noexcept { header_changed_ = true; }

  /// Writes the header's first 512 bytes now, as `header` is, and waits until it is durable.
  /// REQUIRES: nothing else of it has been changed since the last commit().
  Task<void> write_header_now();
  /// Sets the corrupt bit in the header on disk, which stays as it is otherwise. REQUIRES: version 3.
  Task<void> mark_corrupt();
  /// Makes the header name this bitmap directory, or none, by steps that a crash can't tear (see
  /// bitmap_header.h), and waits until it is durable. REQUIRES: the directory and what it refers to
  /// are durable. Errors before anything is changed: no_space, unsupported, corrupt_image.
  Task<void> publish_bitmaps(std::optional<BitmapsExtension> bitmaps);
  /// Makes the header on disk, and the one here, this one, by steps that a crash can't tear (see
  /// header_change.h), and waits until it is durable. REQUIRES: what it refers to is durable, and
  /// nothing else of the header has been changed since the last commit().
  /// Errors before anything is changed: those of plan_header_change().
  Task<void> publish_header(Header wanted);
  /// Writes metadata that no table here holds, in place, and waits until it is durable.
  Task<void> write_in_place(std::uint64_t offset, std::vector<std::byte> bytes);

  /// Changes take more memory than they should: time for a commit().
  bool over_limit() const noexcept { return cache_.over_limit() || allocator_.has_many_drops(); }
  bool has_changes() const noexcept;

  /// Why the image can't be written any more; nothing while it can.
  const std::optional<Error>& failure() const noexcept { return failure_; }
  void fail_for_good(const Error& error) {
    if (!failure_) failure_ = error.clone();
  }
  Result<void> check_usable() const {
    return failure_ ? Result<void>(fail(failure_->clone())) : Result<void>();
  }

 private:
  struct Piece {
    std::uint64_t offset;
    std::vector<std::byte> bytes;
  };
  struct Epoch {
    std::vector<FrozenSlice> slices;
    std::vector<Piece> early;  // stage 1
    std::vector<Piece> table;  // stage 2
    std::vector<Piece> late;   // stage 3
    EntryTable::Frozen l1;
    EntryTable::Frozen refcount_table;
    std::vector<Drop> drops;
    Header header;
    bool header_changed = false;
  };

  Epoch freeze();
  Task<void> write(Epoch& epoch);
  void put_back(Epoch& epoch);
  Task<void> commit_now();
  Task<void> write_pieces(std::vector<Piece>& pieces);
  Task<void> write_header(const Header& header);
  using HeaderPlanner =
      std::function<Result<std::vector<HeaderStep>>(std::span<const std::byte> cluster)>;
  Task<void> change_header_cluster(HeaderPlanner planner);
  Task<void> barrier();

  Header& header_;
  Header on_disk_;
  File& file_;
  File* data_file_;  // null where guest data is in `file`
  MetadataCache& cache_;
  EntryTable& l1_;
  Refcounts& refcounts_;
  ClusterAllocator& allocator_;
  bool header_changed_ = false;
  AsyncMutex mutex_;
  std::uint64_t begun_ = 0;  // epochs
  std::uint64_t done_ = 0;   // the latest one that succeeded
  std::optional<Error> failure_;
};

}  // namespace platter::qcow2
