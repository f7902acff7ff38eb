// Zero detection, by scanner and size: all zeroes is the slow case, data ends at once.
#include <cstddef>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "io/zero.h"

namespace platter {
namespace {

void scan_zeroes(benchmark::State& state, const ZeroScanner& scanner) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(scanner.scan(bytes.data(), bytes.size()));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void scan_data(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{1});
  for (auto _ : state) benchmark::DoNotOptimize(is_zero(bytes));
}

void prefix_of_zeroes(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    bool zero = false;
    benchmark::DoNotOptimize(uniform_prefix(bytes, 4096, zero));
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(scan_data)->Name("zero/data")->Arg(1 << 16);
BENCHMARK(prefix_of_zeroes)->Name("zero/uniform_prefix_4k")->Arg(1 << 20);

// The scanners depend on the CPU, so they are registered by hand, before main().
const bool kRegistered = [] {
  for (const ZeroScanner& scanner : zero_scanners()) {
    benchmark::RegisterBenchmark(
        ("zero/" + std::string(scanner.name)).c_str(),
        [&scanner](benchmark::State& state) { scan_zeroes(state, scanner); })
        ->Arg(512)
        ->Arg(4096)
        ->Arg(65536)
        ->Arg(1 << 20)
        ->Arg(64 << 20);
  }
  return true;
}();

}  // namespace
}  // namespace platter
