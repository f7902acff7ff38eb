#include "formats/qcow2/metadata_regions.h"

#include <algorithm>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// Clusters have 512 bytes at least.
constexpr std::uint64_t kKindMask = 0xff;

std::uint64_t packed(RegionKind kind, std::uint64_t offset) {
  return offset | static_cast<std::uint64_t>(kind);
}

}  // namespace

std::string_view to_string(RegionKind kind) noexcept {
  switch (kind) {
    case RegionKind::header: return "qcow2_header";
    case RegionKind::active_l1: return "active L1 table";
    case RegionKind::active_l2: return "active L2 table";
    case RegionKind::refcount_table: return "refcount table";
    case RegionKind::refcount_block: return "refcount block";
    case RegionKind::snapshot_table: return "snapshot table";
    case RegionKind::inactive_l1: return "inactive L1 table";
    case RegionKind::bitmap_directory: return "bitmap directory";
    case RegionKind::bitmap_table: return "bitmap table";
    case RegionKind::bitmap_data: return "bits of a bitmap";
  }
  return "metadata";
}

void MetadataRegions::add_cluster(RegionKind kind, std::uint64_t offset) {
  const std::uint64_t value = packed(kind, offset);
  clusters_.insert(std::ranges::upper_bound(clusters_, value), value);
}

void MetadataRegions::remove_cluster(RegionKind kind, std::uint64_t offset) {
  const auto found = std::ranges::lower_bound(clusters_, packed(kind, offset));
  if (found != clusters_.end() && *found == packed(kind, offset)) clusters_.erase(found);
}

void MetadataRegions::add_clusters(RegionKind kind, const std::vector<std::uint64_t>& offsets) {
  clusters_.reserve(clusters_.size() + offsets.size());
  for (const std::uint64_t offset : offsets) clusters_.push_back(packed(kind, offset));
  std::ranges::sort(clusters_);
}

void MetadataRegions::add_range(RegionKind kind, std::uint64_t offset, std::uint64_t length) {
  if (length > 0) ranges_.push_back({offset, offset + length, kind});
}

void MetadataRegions::remove_ranges(RegionKind kind) {
  std::erase_if(ranges_, [kind](const Range& range) { return range.kind == kind; });
}

void MetadataRegions::remove_range(RegionKind kind, std::uint64_t offset) {
  std::erase_if(ranges_, [kind, offset](const Range& range) {
    return range.kind == kind && range.begin == offset;
  });
}

void MetadataRegions::replace_clusters(RegionKind kind, const std::vector<std::uint64_t>& offsets) {
  std::erase_if(clusters_, [kind](std::uint64_t value) {
    return (value & kKindMask) == static_cast<std::uint64_t>(kind);
  });
  add_clusters(kind, offsets);
}

std::optional<RegionKind> MetadataRegions::find(std::uint64_t offset,
                                                std::uint64_t length) const noexcept {
  const std::uint64_t end = offset + length;
  for (const Range& range : ranges_) {
    if (range.begin < end && offset < range.end) return range.kind;
  }
  const auto found = std::ranges::lower_bound(clusters_, align_down(offset, cluster_size_));
  if (found == clusters_.end() || (*found & ~kKindMask) >= end) return std::nullopt;
  return static_cast<RegionKind>(*found & kKindMask);
}

}  // namespace platter::qcow2
