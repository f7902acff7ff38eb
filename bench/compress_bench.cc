// Clusters of 64 KiB, compressed and read again: each type; the ratio is a counter.
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "formats/qcow2/compress.h"
#include "formats/qcow2/decompress.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kClusterSize = 65536;

// Half text, half records of numbers, as a guest's disk has them.
std::vector<std::byte> guest_like(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text;
  while (text.size() < kClusterSize / 2) {
    text += "the quick brown fox " + std::to_string(random() % 5000);
    text += random() % 4 == 0 ? "\n" : " jumps over ";
  }
  text.resize(kClusterSize / 2);
  for (std::uint32_t i = 0; text.size() < kClusterSize; ++i) {
    const std::uint64_t record = i * 4096ULL + (random() & 0x0fff);
    text.append(reinterpret_cast<const char*>(&record), sizeof record);
  }
  const auto bytes = std::as_bytes(std::span(text)).first(kClusterSize);
  return {bytes.begin(), bytes.end()};
}

CompressionType type_of(const benchmark::State& state) {
  return static_cast<CompressionType>(state.range(0));
}

void compress_cluster(benchmark::State& state) {
  const std::vector<std::byte> cluster = guest_like(1);
  std::vector<std::byte> out(kClusterSize - 1);
  std::size_t size = 0;
  for (auto _ : state) {
    size = compress(type_of(state), cluster, out).value_or(0);
    benchmark::DoNotOptimize(size);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kClusterSize));
  state.counters["ratio"] = static_cast<double>(size) / kClusterSize;
}

void decompress_cluster(benchmark::State& state) {
  const std::vector<std::byte> cluster = guest_like(1);
  std::vector<std::byte> out(kClusterSize - 1);
  out.resize(compress(type_of(state), cluster, out).value_or(0));
  std::vector<std::byte> again(kClusterSize);
  for (auto _ : state) {
    if (!decompress(type_of(state), out, again)) state.SkipWithError("broken");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kClusterSize));
}

BENCHMARK(compress_cluster)->Name("compress")->Arg(0)->Arg(1)->ArgName("type");
BENCHMARK(decompress_cluster)->Name("decompress")->Arg(0)->Arg(1)->ArgName("type");

}  // namespace
}  // namespace platter::qcow2
