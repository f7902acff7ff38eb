// Which clusters of an image that is being made are taken, and by what.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "io/error.h"

namespace platter::qcow2 {

/// A set of cluster numbers, kept as runs. Takes memory by runs, not by clusters.
class ClusterSet {
 public:
  struct Run {
    std::uint64_t first = 0;
    std::uint64_t end = 0;  ///< one past the last
  };

  void insert(std::uint64_t first, std::uint64_t count);
  void erase(std::uint64_t first, std::uint64_t count);
  /// Where `count` clusters in a row are free, the first such place at or after `from`.
  std::uint64_t find_free(std::uint64_t from, std::uint64_t count) const;
  /// How many clusters from `first` on are free, at most `count_max`.
  std::uint64_t count_free(std::uint64_t first, std::uint64_t count_max) const;
  /// One past the last cluster of the set.
  std::uint64_t end() const { return runs_.empty() ? 0 : runs_.rbegin()->second; }
  bool contains(std::uint64_t cluster) const { return count_free(cluster, 1) == 0; }
  /// The runs that touch [first, end), cut to it.
  std::vector<Run> runs_within(std::uint64_t first, std::uint64_t end) const;

 private:
  std::map<std::uint64_t, std::uint64_t> runs_;  // first -> end; no two touch
};

/// Hands out clusters of a new image in the order in which QEMU 7.2 does, so that the images are
/// the same byte for byte. Pure arithmetic: nothing is read or written. Every count is 0 or 1.
///
/// The habits that show in an image: a search begins where the last one ended; a refcount block is
/// made when the first cluster that it covers is taken, in the next free place, and then the search
/// for that cluster begins anew at its old place; a refcount table that gets too small is followed
/// by one of 1.5 times the size needed, behind everything that the old blocks cover, and leaves
/// its place free, its contents where they were.
class LayoutAllocator {
 public:
  /// Knows the header, the refcount table and its first block: clusters 0 to 2.
  LayoutAllocator(unsigned cluster_bits, unsigned refcount_order);

  /// Takes `count` clusters in a row and returns the first. Errors: too_large.
  Result<std::uint64_t> allocate(std::uint64_t count);
  /// Takes what is free of `count` clusters from `first` on, up to the first that is not; returns
  /// how many. Errors: too_large.
  Result<std::uint64_t> allocate_at(std::uint64_t first, std::uint64_t count);
  /// Makes refcount structures at the end that cover themselves and `additional` clusters behind
  /// them; returns the first of those. Errors: too_large.
  Result<std::uint64_t> make_refcount_area(std::uint64_t additional);

  const ClusterSet& used() const noexcept { return used_; }
  std::uint64_t table_cluster() const noexcept { return table_cluster_; }
  std::uint64_t table_clusters() const noexcept;
  /// By index: the cluster of the refcount block, 0 where there is none. Fills whole clusters.
  const std::vector<std::uint64_t>& table() const noexcept { return table_; }
  /// Clusters that held a part of an earlier refcount table, as it was, and are free.
  std::map<std::uint64_t, std::vector<std::uint64_t>> abandoned() const;

 private:
  enum class Outcome : bool { done, again };

  std::uint64_t block_size() const noexcept { return std::uint64_t{1} << block_bits_; }
  std::uint64_t entries_per_cluster() const noexcept { return std::uint64_t{1} << entry_bits_; }
  bool covered(std::uint64_t cluster) const noexcept;
  Result<std::uint64_t> find(std::uint64_t count);
  Result<Outcome> mark(std::uint64_t first, std::uint64_t count);
  Result<void> add_block(std::uint64_t cluster);
  Result<std::uint64_t> replace_table(std::uint64_t start, std::uint64_t additional, bool exact,
                                      std::uint64_t block_index, std::uint64_t block);
  std::uint64_t blocks_needed(std::uint64_t clusters, bool generous) const;
  void abandon_table();

  unsigned cluster_bits_;
  unsigned block_bits_;  // counts of one refcount block, as a power of two
  unsigned entry_bits_;  // entries of one cluster of the refcount table, likewise
  std::uint64_t search_from_ = 0;
  ClusterSet used_;
  std::uint64_t table_cluster_ = 1;
  std::vector<std::uint64_t> table_;
  std::map<std::uint64_t, std::vector<std::uint64_t>> abandoned_;
};

}  // namespace platter::qcow2
