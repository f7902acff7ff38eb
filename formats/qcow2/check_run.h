// What the parts of one check share.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/qcow2/check_report.h"
#include "formats/qcow2/check_snapshots.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/refcount_array.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// One check of one image. The header changes with what a repair changes in the file.
struct CheckRun {
  Header& header;
  File& file;
  CheckMessages& messages;
  CheckReport& report;
  const CancelToken* cancel = nullptr;
  std::uint64_t memory_max = 0;  ///< bytes for counts

  std::uint64_t file_size = 0;  ///< bytes, rounded up to sectors
  std::uint64_t clusters = 0;   ///< of the file; grows with references into one cut short
  SnapshotEntries snapshots{};
  std::vector<std::uint64_t> l1{};  ///< active; entries past the end of the file left out
  std::vector<std::uint64_t> refcount_table{};  ///< the same
  /// First what references add up to; after the comparison what is on disk. One more than
  /// `clusters` at first.
  RefcountArray counts{};
  /// For a repair: clusters past the end of the file that something refers to all the same, from
  /// `outside_begin` on, one bit each. They read as zeroes and must go on doing so.
  RefcountArray outside{};
  std::uint64_t outside_begin = 0;
  /// What the walk saw of the active tables: where every flag is set and no cluster is referred to
  /// twice, flags need no look of their own.
  bool all_copied = true;
  bool shared = false;
  /// The refcount structures can't be mended in place.
  bool rebuild = false;

  std::uint64_t cluster_size() const noexcept { return header.cluster_size(); }
  /// Counts in one refcount block.
  std::uint64_t block_counts() const noexcept {
    return (header.cluster_size() * 8) >> header.refcount_order;
  }
  bool repairs() const noexcept { return outside.size() > 0; }
  bool is_outside(std::uint64_t cluster) const noexcept {
    return cluster >= outside_begin && cluster - outside_begin < outside.size() &&
           outside.get(cluster - outside_begin) != 0;
  }
};

/// Reads `count` big-endian words; those past the end of the file are left out, so that what an
/// image claims takes no memory. Errors: io.
Task<std::vector<std::uint64_t>> read_words(const CheckRun& run, std::uint64_t offset,
                                            std::uint64_t count);

}  // namespace platter::qcow2
