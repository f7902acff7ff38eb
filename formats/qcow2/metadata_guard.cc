#include "formats/qcow2/metadata_guard.h"

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);

// A range in whole clusters.
struct Clusters {
  Clusters(const CheckRun& run, std::uint64_t offset, std::uint64_t size)
      : begin(offset >> run.header.cluster_bits),
        end(size == 0 ? begin : ((offset + size - 1) >> run.header.cluster_bits) + 1) {}
  bool overlaps(const Clusters& other) const noexcept {
    return begin < other.end && other.begin < end;
  }
  std::uint64_t begin;
  std::uint64_t end;
};

std::string_view find_overlap(const CheckRun& run, const Clusters& range) {
  const Header& header = run.header;
  const auto overlaps = [&](std::uint64_t offset, std::uint64_t size) {
    return range.overlaps(Clusters(run, offset, size));
  };
  if (overlaps(0, run.cluster_size())) return "the header";
  if (overlaps(header.l1_table_offset, header.l1_size * kWord)) return "the active L1 table";
  if (overlaps(header.refcount_table_offset,
               std::uint64_t{header.refcount_table_clusters} << header.cluster_bits)) {
    return "the refcount table";
  }
  for (const std::uint64_t entry : run.refcount_table) {
    const std::uint64_t offset = entry & kRefcountTableOffsetMask;
    if (offset != 0 && overlaps(offset, run.cluster_size())) return "a refcount block";
  }
  if (overlaps(header.snapshots_offset, run.snapshots.table_size)) return "the snapshot table";
  for (const SnapshotEntry& snapshot : run.snapshots.entries) {
    if (overlaps(snapshot.l1_table_offset, snapshot.l1_size * kWord)) return "an inactive L1 table";
  }
  if (header.bitmaps && header.autoclear(kBitmapsBit) &&
      overlaps(header.bitmaps->directory_offset, header.bitmaps->directory_size)) {
    return "the bitmap directory";
  }
  return {};
}

}  // namespace

Result<void> check_free_of_metadata(const CheckRun& run, std::uint64_t offset, std::uint64_t size,
                                    std::string_view what) {
  const std::string_view overlap = find_overlap(run, Clusters(run, offset, size));
  if (overlap.empty()) return {};
  return fail(ErrorKind::corrupt_image,
              fmt::format("'{}': the {} at offset {:#x} overlaps {}: it can't be repaired",
                          run.file.name(), what, offset, overlap));
}

}  // namespace platter::qcow2
