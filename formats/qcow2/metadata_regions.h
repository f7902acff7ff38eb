// Where metadata lies in the file, so that guest data is never written over it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace platter::qcow2 {

enum class RegionKind : std::uint8_t {
  header,
  active_l1,
  active_l2,
  refcount_table,
  refcount_block,
  snapshot_table,
  inactive_l1,
  bitmap_directory,
  bitmap_table,
  bitmap_data,
};
/// As in a sentence: "active L2 table".
std::string_view to_string(RegionKind kind) noexcept;

/// A set of ranges of the file. A damaged image may have wrong refcounts or entries; whatever is
/// about to be written is looked up here first. Tables of one cluster take 8 bytes each.
class MetadataRegions {
 public:
  explicit MetadataRegions(std::uint64_t cluster_size) : cluster_size_(cluster_size) {}

  /// A table of one cluster. `offset` is a multiple of the cluster size.
  void add_cluster(RegionKind kind, std::uint64_t offset);
  void remove_cluster(RegionKind kind, std::uint64_t offset);
  /// The same for many at once, in any order.
  void add_clusters(RegionKind kind, const std::vector<std::uint64_t>& offsets);
  /// Anything longer. Empty ranges are none.
  void add_range(RegionKind kind, std::uint64_t offset, std::uint64_t length);
  void remove_ranges(RegionKind kind);
  void remove_range(RegionKind kind, std::uint64_t offset);
  /// These tables in place of all of their kind.
  void replace_clusters(RegionKind kind, const std::vector<std::uint64_t>& offsets);

  /// What a write of this range would destroy.
  std::optional<RegionKind> find(std::uint64_t offset, std::uint64_t length) const noexcept;

 private:
  struct Range {
    std::uint64_t begin;
    std::uint64_t end;
    RegionKind kind;
  };
  std::uint64_t cluster_size_;
  std::vector<std::uint64_t> clusters_;  // sorted; the kind is in the low bits
  std::vector<Range> ranges_;            // few
};

}  // namespace platter::qcow2
