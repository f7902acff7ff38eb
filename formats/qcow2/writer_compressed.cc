// Compressed clusters, written: several share a host cluster.
#include <algorithm>

#include <fmt/format.h>

#include "formats/qcow2/writer.h"
#include "io/bytes.h"

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
  const auto guard = co_await compressing_.lock();
  std::uint64_t host = compressed_at_;
  if (host != 0 && !co_await share_cluster(host)) host = 0;
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
  co_return host;
}

Task<void> Writer::release_compressed(std::uint64_t host, std::size_t length) {
  const std::uint64_t begin = align_down(host, cluster_size());
  const std::uint64_t end = align_up(host + length, cluster_size());
  const ClusterRun run{.offset = begin, .count = (end - begin) >> p_.header.cluster_bits};
  (void)co_await p_.allocator.release_unpublished(run).result();
}

Task<void> Writer::write_compressed(std::uint64_t offset, std::span<const std::byte> compressed) {
  if (p_.epochs.over_limit()) co_await p_.epochs.commit();
  RangeLock::Guard guard(locks_, offset, cluster_size(), /*exclusive=*/true);
  co_await guard.acquired();
  co_await p_.epochs.check_usable();
  const std::uint64_t host = co_await place_compressed(compressed.size());
  const unsigned offset_bits = 62 - (p_.header.cluster_bits - 8);
  Result<void> done;
  if (host + compressed.size() > std::uint64_t{1} << offset_bits) {
    done = fail(ErrorKind::no_space,
                fmt::format("'{}': compressed data can't be addressed at offset {:#x}",
                            p_.file.name(), host));
  }
  if (done) done = co_await p_.data.write(host, compressed).result();
  Result<EntryRef> ref = EntryRef();
  if (done) ref = co_await p_.tables.entry_for_write(offset).result();
  if (!done || !ref) {
    co_await release_compressed(host, compressed.size());
    co_await std::move(done);
    co_await fail(std::move(ref.error()));
  }
  const L2Entry old = ref->get();
  done = p_.map.check(old, offset);
  if (!done) {
    co_await release_compressed(host, compressed.size());
    co_await std::move(done);
  }
  const std::uint64_t more_sectors =
      (host + compressed.size() - 1) / kSectorSize - host / kSectorSize;
  p_.tables.set(*ref, 0, {kCompressedFlag | (more_sectors << offset_bits) | host, 0});
  drop_contents(old, /*discard=*/false);
}

}  // namespace platter::qcow2
