// The references of whole trees of tables, counted at once.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/entry_table.h"
#include "formats/qcow2/epochs.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/refcount_window.h"
#include "formats/qcow2/table_tree.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Who refers to clusters: the L2 tables of a tree are referred to, and refer to others; further
/// clusters (an L1 table's own, say) are just referred to.
struct Referrer {
  TableTree tree;
  std::vector<ReferredRun> others{};
  /// Between which clusters each group of the tree refers; empty until it was read once.
  std::vector<ReferredRun> reach{};
};

/// For operations that have the image to themselves, with no changes in the cache, which they make
/// forget everything when they are done. Regular tables are read once, others a few times. Blocks of
/// refcounts are kept in memory as far as they may: if that is not all of them, a tree is looked at
/// once for each part of the counts that it refers to.
///
/// Belongs to its image's ring.
class BulkReferences {
 public:
  using Change = RefcountWindow::Change;

  /// `memory_max` bytes for refcount blocks; tables take some 16 MiB at most. All outlive this.
  BulkReferences(const Header& header, File& file, const EntryTable& refcount_table, Epochs& epochs,
                 ClusterAllocator& allocator, std::size_t memory_max);

  /// Finds out whether the change can be made, by the counts on disk; writes nothing. Errors: too_large (a count has no
  /// room), corrupt_image (a count is too small, an entry is impossible), cancelled, io.
  Task<void> verify(Referrer& referrer, Change change, const CancelToken* cancel = nullptr);
  /// Makes it and waits until it is durable. What nothing refers to any more is given back to the
  /// filesystem. REQUIRES: verify() went well, and since then counts have risen at most.
  Task<void> apply(Referrer& referrer, Change change);

  /// Clears COPIED in the tree's tables (that of L1 entries is the caller's).
  Task<void> clear_copied(const TableTree& tree);
  /// Sets COPIED where the count is 1 and clears it elsewhere, in the tree's tables and in its L1
  /// table (in memory: the next epoch writes it).
  Task<void> refresh_copied(const TableTree& tree, EntryTable& l1);

 private:
  Task<void> load(std::uint64_t first_block);
  Task<void> change_window(Referrer& referrer, Change change, const CancelToken* cancel);
  Task<void> reclaim(const Referrer& referrer, std::vector<bool>& freed_tables);
  Task<void> reclaim_zeroes(ReferredRun run);
  Result<void> change_table(Referrer& referrer, Change change, std::size_t table,
                            std::span<const std::byte> bytes);
  Result<void> change_run(Change change, ReferredRun run, std::uint64_t weight);
  bool refresh_table(std::span<std::byte> bytes) const;
  void refresh_l1(EntryTable& l1) const;
  bool in_window(const ReferredRun& reach) const noexcept;

  const Header& header_;
  File& file_;
  const EntryTable& table_;
  Epochs& epochs_;
  ClusterAllocator& allocator_;
  RefcountWindow window_;
  TableMemo memo_;
  bool current_ = false;  // the window is whole and as on disk
  // The window is whole and holds what apply() of this is going to write.
  const Referrer* prepared_ = nullptr;
  bool freed_ = false;  // a table's entry refers to a cluster whose count is 0 now
};

}  // namespace platter::qcow2
