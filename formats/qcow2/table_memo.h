// L2 tables remembered in few words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace platter::qcow2 {

/// Most tables are regular: entries that are all the same, or whose clusters lie one after the
/// other. Those are kept as runs, a thousandth of their size, so that who needs a table twice reads
/// it once. Others, and what there is no room for, are read again. One thread.
class TableMemo {
 public:
  explicit TableMemo(std::uint64_t cluster_size) : cluster_size_(cluster_size) {}

  /// Keeps a table's contents if they are regular. `place` in the file.
  void remember(std::uint64_t place, std::span<const std::byte> table);
  void forget(std::uint64_t place) { known_.erase(place); }
  bool knows(std::uint64_t place) const noexcept { return known_.contains(place); }
  /// Writes a known table's contents. REQUIRES: knows(place); the size is as it was.
  void recall(std::uint64_t place, std::span<std::byte> into) const;

 private:
  static constexpr std::size_t kRunsMax = 32;                       // of one table
  static constexpr std::size_t kMemoryRuns = std::size_t{1} << 18;  // of all: 6 MiB

  /// `count` words from `first` on, each by `step` larger than the one before.
  struct Run {
    std::uint64_t first;
    std::uint64_t step;
    std::size_t count;
  };
  struct Place {
    std::size_t begin;  // in runs_
    std::size_t count;
  };
  Run run_at(std::span<const std::byte> table, std::size_t index) const noexcept;

  std::uint64_t cluster_size_;
  std::vector<Run> runs_;
  std::unordered_map<std::uint64_t, Place> known_;
};

}  // namespace platter::qcow2
