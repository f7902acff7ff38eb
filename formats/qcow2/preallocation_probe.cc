#include "formats/qcow2/preallocation_probe.h"

#include <algorithm>

#include "formats/qcow2/refcounts.h"

namespace platter::qcow2 {

Task<bool> is_metadata_preallocated(const Header& header, DirectFile& file, MetadataCache& cache) {
  const std::uint64_t held = co_await file.disk_usage() >> header.cluster_bits;
  const std::uint64_t threshold = std::max(held * 10 / 9, held + 2);
  const std::uint64_t file_size = co_await file.size();
  const std::uint64_t end = (file_size + header.cluster_size() - 1) >> header.cluster_bits;
  Refcounts refcounts(header, file, cache);
  co_await refcounts.load();
  std::uint64_t used = 0;
  for (std::uint64_t cluster = 0; cluster < end && used < threshold;) {
    const Refcounts::Row row = co_await refcounts.row(cluster);
    const std::uint64_t stop = std::min(end, row.end);
    if (row.slice) {
      for (std::uint64_t i = cluster; i < stop; ++i) used += row.get(i) != 0 ? 1 : 0;
    }
    cluster = stop;
  }
  co_return used >= threshold;
}

}  // namespace platter::qcow2
