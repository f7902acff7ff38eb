// Compressed clusters, written: several share a host cluster.
#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "formats/qcow2/writer.h"
#include "io/bytes.h"
#include "io/ring.h"

namespace platter::qcow2 {

// One more reference for the cluster that the last compressed data ended in; false where there
// can't be one more.
Task<bool> Writer::share_cluster(std::uint64_t host) {
  const Result<void> raised = co_await p_.allocator.raise(host).result();
  if (!raised && raised.error().kind() == ErrorKind::too_large) co_return false;
  if (!raised) co_return fail(raised.error().clone());
  if (compressed_at_ == host) co_return true;
  // It was freed while its count was looked up.
  co_await release_compressed(host, 1);
  co_return false;
}

// Room for `length` bytes, at most a cluster: where the last compressed data ended if the cluster
// has room or the next one is free, else in a new cluster. Every host cluster touched has got one
// reference more.
Task<std::uint64_t> Writer::place_compressed(std::size_t length) {
  std::uint64_t host = compressed_at_;
  if (host != 0) {
    const bool shared = co_await share_cluster(host);
    if (!shared) host = 0;
  }
  const std::uint64_t room = host == 0 ? 0 : cluster_size() - host % cluster_size();
  if (room < length) {
    const Result<ClusterRun> next = co_await p_.allocator.allocate(1).result();
    const bool adjacent = next && host != 0 && next->offset == host + room;
    if (host != 0 && !adjacent) co_await release_compressed(host, 1);
    if (!next) co_return fail(next.error().clone());
    if (!adjacent) host = next->offset;
  }
  compressed_at_ = host + length;
  if (compressed_at_ % cluster_size() == 0) compressed_at_ = 0;
  const unsigned offset_bits = 62 - (p_.header.cluster_bits - 8);
  if (host + length <= std::uint64_t{1} << offset_bits) co_return host;
  co_await release_compressed(host, length);
  co_return fail(ErrorKind::no_space,
                 fmt::format("'{}': compressed data can't be addressed at offset "
                             "{:#x}",
                             p_.file.name(), host));
}

Task<void> Writer::release_compressed(std::uint64_t host, std::size_t length) {
  const std::uint64_t begin = align_down(host, cluster_size());
  const std::uint64_t end = align_up(host + length, cluster_size());
  const ClusterRun run{.offset = begin, .count = (end - begin) >> p_.header.cluster_bits};
  (void)co_await p_.allocator.release_unpublished(run).result();
}

Task<void> Writer::write_compressed(std::span<CompressedCluster> clusters) {
  if (clusters.empty()) co_return;
  if (p_.epochs.over_limit()) co_await p_.epochs.commit();
  const std::uint64_t begin = clusters.front().guest;
  RangeLock::Guard guard(locks_, begin, clusters.back().guest + cluster_size() - begin,
                         /*exclusive=*/true);
  co_await guard.acquired();
  co_await p_.epochs.check_usable();
  std::size_t placed = 0;
  std::size_t published = 0;
  Result<void> done = co_await place_all(clusters, placed).result();
  if (done) done = co_await write_placed(clusters).result();
  while (done && published < clusters.size()) {
    done = co_await publish_compressed(clusters[published]).result();
    if (done) ++published;
  }
  for (std::size_t i = published; i < placed; ++i) {
    co_await release_compressed(clusters[i].host, clusters[i].data.size());
  }
  co_await std::move(done);
}

Task<void> Writer::place_all(std::span<CompressedCluster> clusters, std::size_t& placed) {
  // Those of one request lie side by side.
  const auto guard = co_await compressing_.lock();
  for (CompressedCluster& cluster : clusters) {
    cluster.host = co_await place_compressed(cluster.data.size());
    ++placed;
  }
}

// Neighbours go together: they share sectors.
Task<void> Writer::write_placed(std::span<const CompressedCluster> clusters) {
  for (std::size_t i = 0; i < clusters.size();) {
    std::size_t end = i;
    std::size_t length = 0;
    while (end < clusters.size() && clusters[end].host == clusters[i].host + length) {
      length += clusters[end++].data.size();
    }
    const Buffer joined = co_await Ring::current().buffers().acquire(length);
    std::size_t at = 0;
    for (const CompressedCluster& cluster : clusters.subspan(i, end - i)) {
      std::memcpy(joined.data() + at, cluster.data.data(), cluster.data.size());
      at += cluster.data.size();
    }
    co_await check_place(clusters[i].host, length);
    co_await p_.data.write(clusters[i].host, joined.bytes());
    i = end;
  }
}

Task<void> Writer::publish_compressed(const CompressedCluster& cluster) {
  EntryRef ref = co_await p_.tables.entry_for_write(cluster.guest);
  const L2Entry old = ref.get();
  co_await p_.map.check(old, cluster.guest);
  const unsigned offset_bits = 62 - (p_.header.cluster_bits - 8);
  const std::uint64_t end = cluster.host + cluster.data.size();
  const std::uint64_t more_sectors = (end - 1) / kSectorSize - cluster.host / kSectorSize;
  p_.tables.set(ref, 0, {kCompressedFlag | (more_sectors << offset_bits) | cluster.host, 0});
  drop_contents(old, /*discard=*/false);
}

}  // namespace platter::qcow2
