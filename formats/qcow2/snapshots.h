// Internal snapshots of an image that is being written: taken, gone back to, deleted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/bulk_references.h"
#include "formats/qcow2/snapshot_table.h"
#include "formats/qcow2/writing.h"
#include "formats/snapshot_key.h"
#include "io/cancel.h"
#include "io/task.h"

namespace platter::qcow2 {

/// What a new snapshot is called, and when it was taken.
struct NewSnapshot {
  std::string name;
  std::uint32_t date_sec = 0;  ///< since 1970, UTC
  std::uint32_t date_nsec = 0;
};

/// One operation on one image, which it has to itself while it lasts. A crash or an error at any
/// moment leaves the state before or the one after; at worst clusters that are counted and not
/// used, and COPIED flags that are not set.
///
/// Whether counts can be changed is known before anything is: an image whose counts are wrong is
/// refused as it is. Then, with a barrier between any two:
///
///   create   COPIED is cleared; counts are raised; the header's first sector names the new table
///   remove   the header names the new table; counts are lowered; COPIED is set where a count is 1
///   apply    COPIED is cleared and counts are raised below the snapshot; the header names a new L1
///            table and the snapshot's size; counts are lowered below the old one; COPIED is set
///   complete the header names a new table with the same snapshots
///   empty    the active L1 table's entries become 0; counts are lowered below what it was
///
/// Belongs to its image's ring.
class Snapshots {
 public:
  /// `counts_memory_max` bytes for refcounts: more only saves time.
  Snapshots(Writing& writing, std::size_t counts_memory_max, const CancelToken* cancel)
      : w_(writing),
        cancel_(cancel),
        references_(writing.header, writing.file, writing.refcounts.table(), writing.epochs,
                    writing.allocator, counts_memory_max) {}

  /// Errors: unsupported (an external data file), too_large (a count, the table or an id has no
  /// room), no_space, corrupt_image, cancelled, io.
  Task<void> create(NewSnapshot wanted);
  /// Errors: not_found, corrupt_image, cancelled, io. After an error of which the text says so the
  /// snapshot is gone all the same.
  Task<void> remove(SnapshotKey key);
  /// Errors: not_found, unsupported (an external data file; an image with bitmaps), too_large,
  /// no_space, corrupt_image, cancelled, io.
  Task<void> apply(SnapshotKey key);
  /// Before the image becomes one of version 3: writes the table anew if an entry lacks the extra
  /// data that this version asks for. What was there is dropped.
  /// Errors: too_large (the table), no_space, corrupt_image, io.
  Task<void> complete_table();
  /// Gives up all that the active table refers to. A crash while the table is written leaves some of
  /// it referred to. Errors: corrupt_image, cancelled, io.
  Task<void> empty_active();

 private:
  using Change = RefcountWindow::Change;

  /// Clusters taken that nothing on disk refers to yet.
  struct Space {
    ClusterRun l1;     // count 0: none
    ClusterRun table;  // the same
  };
  Task<void> begin();
  Task<void> settle();
  Task<void> give_up(Space space);
  Task<ClusterRun> take(std::uint64_t size);
  Task<void> write_new(ClusterRun run, std::span<const std::byte> bytes);
  Task<void> publish_table(ClusterRun run, std::uint32_t count);
  Task<void> check_counted(std::uint64_t offset, std::uint64_t size);
  ReferredRun clusters_of(std::uint64_t offset, std::uint64_t size) const noexcept;
  std::span<const std::uint64_t> active() const noexcept { return w_.map.l1().entries(); }

  Task<void> create_in(Space& space, NewSnapshot wanted);
  Task<void> clear_active_copied(const TableTree& tree);
  Task<void> remove_in(Space& space, SnapshotKey key);
  Task<void> drop_removed(Referrer& removed);
  Task<void> apply_in(Space& space, SnapshotKey key);
  Task<void> complete_table_in(Space& space);
  Task<void> drop_emptied(Referrer& emptied);
  Task<std::vector<std::uint64_t>> l1_to_apply(Snapshot snapshot);
  Task<void> check_tables(const TableTree& tree);
  Task<void> switch_to(ClusterRun run, std::vector<std::uint64_t> l1, std::uint64_t size);
  Task<void> drop_replaced(Referrer& replaced, const TableTree& tree);

  Writing& w_;
  const CancelToken* cancel_;
  BulkReferences references_;
};

}  // namespace platter::qcow2
