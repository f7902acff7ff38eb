// Clusters that read as zeroes by a flag, said in a way that version 2 has.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/table_tree.h"
#include "formats/qcow2/writing.h"
#include "io/cancel.h"
#include "io/task.h"
#include "io/task_group.h"

namespace platter::qcow2 {

/// Goes through every L2 table, those of snapshots too, each of them once. Without a backing file
/// the entries become unallocated ones. Over a backing file they get clusters of zeroes: their own
/// one where nothing else refers to it, otherwise a new one, referred to as often as the table is.
///
/// Some MiB of tables at a time, each entry right by itself at every moment: clusters and counts are
/// durable before the tables are written, and what these referred to before is dropped after
/// that. A crash or an error leaves an image that holds what it held, some of it in the new way, and
/// clusters that are counted and not used.
///
/// For an operation that has the image to itself, not with extended L2 entries, nor with an external
/// data file. Belongs to its image's ring.
class ZeroExpansion {
 public:
  struct Options {
    bool backed = false;  ///< the image has a backing file
    const CancelToken* cancel = nullptr;
    std::function<void(std::uint64_t bytes)> on_done = nullptr;  ///< told of tables looked at
  };
  ZeroExpansion(Writing& writing, Options options);

  struct Found {
    std::uint64_t table_bytes = 0;
    bool compressed = false;  ///< there are compressed clusters
  };
  /// Looks at all of it, and changes nothing. Errors: corrupt_image (an entry is impossible, a table
  /// lies upon something else), cancelled, io.
  Task<Found> look();
  /// Does it, and waits until it is durable. Errors: as look(); no_space, too_large (a count).
  Task<void> run();

 private:
  /// One table of the batch in memory.
  struct Table {
    std::size_t index;  // in the tree
    std::span<std::byte> bytes;
  };
  struct Taken {
    ClusterRun run;
    std::uint64_t references;
  };
  Task<void> settle();
  Task<TableTree> all_tables();
  Task<void> do_batch(const TableTree& tree, std::size_t first, class TableBatch& batch);
  Task<void> expand_all(const TableTree& tree, const std::vector<Table>& tables);
  Task<void> expand(Table table, std::uint64_t weight);
  Task<bool> reuse(std::uint64_t offset, std::uint64_t weight);
  Task<void> fill(Table table, std::vector<std::size_t> entries, std::uint64_t weight);
  Task<void> write(const TableTree& tree, const std::vector<Table>& tables);
  Task<void> spawn_writes(TaskGroup& group, const TableTree& tree,
                          const std::vector<Table>& tables);
  void give_up();
  Task<void> drop_replaced();

  Writing& w_;
  Options options_;
  std::vector<Taken> taken_;     // by tables that are not written yet
  std::vector<Taken> replaced_;  // what they referred to before
};

}  // namespace platter::qcow2
