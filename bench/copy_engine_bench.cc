// Copying an image of 64 MiB in memory: dense, half of it zeroes, all zeroes, all a hole.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "src/ops/copy_engine.h"

namespace platter {
namespace {

constexpr std::uint64_t kSize = 64 * kMiB;
constexpr std::size_t kExtent = 64 * kKiB;

enum Contents : std::int64_t { kDense, kHalfZero, kZero, kHole };

Task<void> fill(File& file, std::int64_t contents) {
  std::mt19937_64 random(1);
  std::vector<std::uint64_t> words(kExtent / sizeof(std::uint64_t));
  for (std::uint64_t at = 0; at < kSize && contents != kHole; at += kExtent) {
    const bool data = contents == kDense || (contents == kHalfZero && at / kExtent % 2 == 0);
    for (std::uint64_t& word : words) word = data ? random() : 0;
    co_await file.write(at, std::as_bytes(std::span(words)));
  }
}

std::unique_ptr<RawImage> make_image(Ring& ring, std::int64_t contents) {
  auto file = std::make_unique<MemoryFile>("memory", kSize);
  ring.run(fill(*file, contents)).value();
  return ring.run(RawImage::open(std::move(file), "memory")).value();
}

/// range(0): contents. range(1): true for a target that reads as zeroes.
void copy(benchmark::State& state) {
  const std::unique_ptr<Ring> ring = Ring::create().value();
  const std::unique_ptr<RawImage> source = make_image(*ring, state.range(0));
  const bool target_is_zero = state.range(1) != 0;
  // The same target each time: memory that is in place already.
  const std::unique_ptr<RawImage> target = make_image(*ring, target_is_zero ? kHole : kDense);
  for (auto _ : state) {
    const CopyStats stats =
        ring->run(copy_image(*source, *target, {.target_is_zero = target_is_zero})).value();
    benchmark::DoNotOptimize(stats.written);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kSize));
}
BENCHMARK(copy)
    ->Name("copy_engine/memory")
    ->ArgNames({"contents", "zero_target"})
    ->ArgsProduct({{kDense, kHalfZero, kZero, kHole}, {0, 1}})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace platter
