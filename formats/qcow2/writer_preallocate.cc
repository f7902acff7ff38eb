// Places for data that is yet to come.
#include <algorithm>
#include <cstring>

#include "formats/qcow2/writer.h"
#include "io/bytes.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kZeroesAtOnce = 1 * kMiB;

}  // namespace

// Before anything refers to the clusters, they read as zeroes and have the space that was asked for.
Task<void> Writer::prepare_space(const Run& run, Preallocation mode) {
  const std::uint64_t length = run.count * cluster_size();
  if (mode == Preallocation::falloc) co_await p_.data.allocate(run.host.offset, length);
  if (mode != Preallocation::full) {
    if (!run.host.reads_as_zero) {
      const bool holes = mode == Preallocation::metadata;
      co_await p_.data.write_zeroes(run.host.offset, length,
                                    holes ? ZeroMode::may_unmap : ZeroMode::keep_allocated);
    }
    co_return;
  }
  const Buffer zeroes = co_await Ring::current().buffers().acquire(std::min(length, kZeroesAtOnce));
  std::memset(zeroes.data(), 0, zeroes.size());
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t part = std::min<std::uint64_t>(length - done, zeroes.size());
    co_await p_.data.write(run.host.offset + done, zeroes.first(part));
    done += part;
  }
}

Task<void> Writer::preallocate(std::uint64_t begin, std::uint64_t end, Preallocation mode,
                               const CancelToken* cancel) {
  while (begin < end) {
    if (cancel != nullptr) co_await cancel->check();
    if (p_.epochs.over_limit()) co_await p_.epochs.commit();
    const std::uint64_t stop = run_end(begin, end - begin);
    RangeLock::Guard guard(locks_, begin, stop - begin, /*exclusive=*/true);
    co_await guard.acquired();
    const Run run = co_await plan(begin, stop - begin);
    if (run.count == 0) {
      begin += cluster_size();
      continue;
    }
    Result<void> done = co_await prepare_space(run, mode).result();
    if (done) done = co_await publish(run).result();
    if (!done) {
      co_await release(run);
      co_await std::move(done);
    }
    begin += run.count * cluster_size();
  }
}

}  // namespace platter::qcow2
