// What references add up to, beside the counts on disk.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "formats/qcow2/check_run.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Which counts a comparison corrects on disk.
struct RefcountFixes {
  bool leaks = false;        ///< too high ones
  bool corruptions = false;  ///< too low ones
};

/// Compares run.counts with the refcount blocks, in rising order, tells every difference, and
/// corrects in place what `fixes` says. Nothing is durable before the next flush.
/// Sets run.rebuild where a referenced cluster has no count on disk. With `keep_disk_counts`,
/// run.counts afterwards holds what is on disk. Returns how many clusters the image takes: one
/// more than the last cluster that either side counts.
/// Errors: io, cancelled.
Task<std::uint64_t> compare_refcounts(CheckRun& run, RefcountFixes fixes, bool keep_disk_counts);

/// Counts on disk of single clusters past the end of the file, where run.counts has none.
class DistantRefcounts {
 public:
  explicit DistantRefcounts(const CheckRun& run) : run_(run) {}
  /// Nothing where it can't be told: the block's place is impossible, or too many blocks were
  /// asked for (a hostile image can ask for a different one each time).
  Task<std::optional<std::uint64_t>> get(std::uint64_t cluster);

 private:
  static constexpr unsigned kReadsMax = 4096;
  static constexpr std::size_t kCachedMax = 8;
  const CheckRun& run_;
  unsigned reads_ = 0;
  std::unordered_map<std::uint64_t, std::vector<std::byte>> blocks_;
};

}  // namespace platter::qcow2
