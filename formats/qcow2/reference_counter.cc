#include "formats/qcow2/reference_counter.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {

// The last cluster of an image may be cut short: up to one cluster past the end of the file is well.
bool ReferenceCounter::ends_in_file(std::uint64_t offset, std::uint64_t size) const {
  const auto end = checked_add(offset, size);
  return end && *end < run_.file_size + header_.cluster_size();
}

std::string ReferenceCounter::beyond_end(std::uint64_t offset, std::uint64_t size) {
  return fmt::format(
      "ERROR: counting reference for region exceeding the end of the file by one cluster or more: "
      "offset {:#x} size {:#x}",
      offset, size);
}

void ReferenceCounter::count_range(std::uint64_t offset, std::uint64_t size,
                                   std::uint64_t references) {
  if (size == 0) return;
  if (!ends_in_file(offset, size)) {
    fault(beyond_end(offset, size), references);
    note_outside(offset, size, references);
    return;
  }
  count_clusters(offset, size, references);
}

void ReferenceCounter::add_range(std::uint64_t offset, std::uint64_t size,
                                 std::vector<SharedRange>& clusters) {
  if (size == 0) return;
  if (!ends_in_file(offset, size)) {
    fault(beyond_end(offset, size));
    if (!run_.repairs() || offset > kMaxFileSize - size) return;
  }
  clusters.push_back({.begin = offset >> header_.cluster_bits,
                      .end = ((offset + size - 1) >> header_.cluster_bits) + 1});
}

void ReferenceCounter::count_ranges(std::span<const SharedRange> clusters) {
  for (const SharedRange& range : disjoint(clusters)) {
    const std::uint64_t offset = range.begin << header_.cluster_bits;
    const std::uint64_t size = (range.end - range.begin) << header_.cluster_bits;
    if (range.end <= run_.counts.size()) {
      count_clusters(offset, size, range.weight);
    } else {
      note_outside(offset, size, range.weight);
    }
  }
}

// A repair neither frees what is there of something cut short, nor uses the places of the rest.
void ReferenceCounter::note_outside(std::uint64_t offset, std::uint64_t size,
                                    std::uint64_t references) {
  if (!run_.repairs()) return;
  if (offset < run_.file_size) count_clusters(offset, run_.file_size - offset, references);
  const std::uint64_t last =
      std::min(checked_add(offset, size - 1).value_or(kMaxFileSize) >> header_.cluster_bits,
               run_.outside_begin + run_.outside.size() - 1);
  for (std::uint64_t cluster = std::max(offset >> header_.cluster_bits, run_.outside_begin);
       cluster <= last; ++cluster) {
    run_.outside.set(cluster - run_.outside_begin, 1);
  }
}

void ReferenceCounter::count_clusters(std::uint64_t offset, std::uint64_t size,
                                      std::uint64_t references) {
  const std::uint64_t last = (offset + size - 1) >> header_.cluster_bits;
  for (std::uint64_t cluster = offset >> header_.cluster_bits; cluster <= last; ++cluster) {
    if (references > 1 || run_.counts.get(cluster) != 0) run_.shared = true;
    const std::uint64_t excess = run_.counts.add(cluster, references);
    if (excess != 0) overflowed(cluster, excess);
  }
  run_.clusters = std::max(run_.clusters, last + 1);
}

void ReferenceCounter::overflowed(std::uint64_t cluster, std::uint64_t excess) {
  run_.report.corruptions += excess;
  for (; excess > 0 && !run_.messages.full(); --excess) {
    run_.messages.add(fmt::format(
        "ERROR: overflow cluster offset={:#x}\n"
        "Use qemu-img amend to increase the refcount entry width or qemu-img convert to create a "
        "clean copy if the image cannot be opened for writing",
        cluster << header_.cluster_bits));
  }
  run_.messages.leave_out(excess);
}

}  // namespace platter::qcow2
