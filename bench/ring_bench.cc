// What a request costs besides the device: the file is cached or in memory.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "io/ring.h"
#include "io/task_group.h"
#include "io/unique_fd.h"

namespace platter {
namespace {

constexpr std::size_t kBlock = 4096;
constexpr std::size_t kFileSize = 1 << 20;

/// tmpfs (a memfd), or a file of $TMPDIR's filesystem whose pages are cached.
enum class Store : std::uint8_t { tmpfs, cached };

UniqueFd make_file(Store store) {
  const char* folder = std::getenv("TMPDIR");
  UniqueFd file(store == Store::tmpfs ? ::memfd_create("platter-bench", MFD_CLOEXEC)
                                      : ::open(folder != nullptr ? folder : "/var/tmp",
                                               O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  const std::vector<char> data(kFileSize, 'x');
  if (!file ||
      ::pwrite(file.get(), data.data(), data.size(), 0) != static_cast<ssize_t>(data.size())) {
    return {};
  }
  return file;
}

/// One reader: as many reads as its share says, one after the other.
Task<void> read_blocks(Ring& ring, RingFile file, std::int64_t count) {
  const Buffer buffer = co_await ring.buffers().acquire(kBlock);
  for (std::int64_t i = 0; i < count; ++i) {
    const int read = co_await ring.read(file, buffer.bytes(), i * kBlock % kFileSize);
    if (read != static_cast<int>(kBlock)) co_await fail(ErrorKind::io, "short read");
  }
}

Task<void> read_side_by_side(Ring& ring, RingFile file, std::int64_t readers, std::int64_t each) {
  TaskGroup group(static_cast<std::size_t>(readers));
  for (std::int64_t i = 0; i < readers; ++i) co_await group.spawn(read_blocks(ring, file, each));
  co_await group.join();
}

/// range(0): how many are in flight at once.
void ring_read(benchmark::State& state, RingEngineKind engine, Store store, bool registered) {
  RingOptions options{.engine = engine};
  if (!registered) options.allow.registered_files = options.allow.registered_buffers = false;
  Result<std::unique_ptr<Ring>> ring = Ring::create(options);
  const UniqueFd file = make_file(store);
  if (!ring || !file) return state.SkipWithError("no ring or no file");
  const RingFile target{.fd = file.get(), .slot = (*ring)->register_file(file.get())};
  constexpr std::int64_t kEach = 100;
  for (auto _ : state) {
    if (!(*ring)->run(read_side_by_side(**ring, target, state.range(0), kEach))) {
      state.SkipWithError("a read failed");
    }
  }
  (*ring)->unregister_file(target.slot);
  state.SetItemsProcessed(state.iterations() * state.range(0) * kEach);
  state.SetBytesProcessed(state.items_processed() * static_cast<std::int64_t>(kBlock));
}

/// The same reads as plain system calls: what a ring is compared with.
void plain_pread(benchmark::State& state, Store store) {
  const UniqueFd file = make_file(store);
  std::vector<std::byte> buffer(kBlock);
  off_t offset = 0;
  for (auto _ : state) {
    if (::pread(file.get(), buffer.data(), kBlock, offset) != static_cast<ssize_t>(kBlock)) {
      state.SkipWithError("a read failed");
    }
    offset = (offset + static_cast<off_t>(kBlock)) % static_cast<off_t>(kFileSize);
  }
  state.SetItemsProcessed(state.iterations());
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kBlock));
}

Task<void> offload_repeatedly(Ring& ring, benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(co_await ring.offload([] { return 1; }));
}

void ring_offload(benchmark::State& state) {
  Result<std::unique_ptr<Ring>> ring = Ring::create();
  if (!ring) return state.SkipWithError("no ring");
  if (!(*ring)->run(offload_repeatedly(**ring, state))) state.SkipWithError("the task failed");
  state.SetItemsProcessed(state.iterations());
}

void ring_create(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Ring::create());
}

constexpr auto kUring = RingEngineKind::io_uring;
constexpr auto kThreads = RingEngineKind::threads;
BENCHMARK_CAPTURE(plain_pread, tmpfs, Store::tmpfs)->Name("ring/plain_pread/tmpfs");
BENCHMARK_CAPTURE(plain_pread, cached, Store::cached)->Name("ring/plain_pread/cached");
BENCHMARK_CAPTURE(ring_read, tmpfs, kUring, Store::tmpfs, true)
    ->Name("ring/read_4k/tmpfs")
    ->Arg(1)
    ->Arg(16)
    ->Arg(128);
BENCHMARK_CAPTURE(ring_read, cached, kUring, Store::cached, true)
    ->Name("ring/read_4k/cached")
    ->Arg(1)
    ->Arg(16)
    ->Arg(128);
BENCHMARK_CAPTURE(ring_read, unregistered, kUring, Store::cached, false)
    ->Name("ring/read_4k/cached_unregistered")
    ->Arg(1)
    ->Arg(16)
    ->Arg(128);
BENCHMARK_CAPTURE(ring_read, threads, kThreads, Store::cached, false)
    ->Name("ring/read_4k/cached_threads")
    ->Arg(1)
    ->Arg(16)
    ->Arg(128)
    ->UseRealTime();
BENCHMARK(ring_offload)->Name("ring/offload")->UseRealTime();
BENCHMARK(ring_create)->Name("ring/create_and_destroy")->UseRealTime();

}  // namespace
}  // namespace platter
