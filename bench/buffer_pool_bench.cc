// Taking a buffer and giving it back.
#include <cstddef>
#include <memory>
#include <vector>

#include <benchmark/benchmark.h>

#include "io/ring.h"

namespace platter {
namespace {

/// range(0): bytes. range(1): how many others are out meanwhile.
void acquire_and_release(benchmark::State& state) {
  const std::unique_ptr<Ring> ring = Ring::create().value();
  BufferPool& pool = ring->buffers();
  const auto size = static_cast<std::size_t>(state.range(0));
  std::vector<Buffer> others;
  others.reserve(static_cast<std::size_t>(state.range(1)));
  for (std::int64_t i = 0; i < state.range(1); ++i) others.push_back(pool.acquire(size).value());
  for (auto _ : state) {
    const Buffer buffer = pool.acquire(size).value();
    benchmark::DoNotOptimize(buffer.data());
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(acquire_and_release)
    ->Name("buffer_pool/acquire_release")
    ->ArgsProduct({{4096, 64 << 10, 1 << 20, 2 << 20}, {0, 31}})
    ->Args({4 << 20, 0});  // beyond a slab: mapped each time

}  // namespace
}  // namespace platter
