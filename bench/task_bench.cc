// What an await costs: at once, through the run loop, and when an error passes through.
#include <cstdint>

#include <benchmark/benchmark.h>

#include "io/async_mutex.h"
#include "io/run_loop.h"
#include "io/task.h"
#include "io/task_group.h"

namespace platter {
namespace {

Task<std::int64_t> value_at_once(std::int64_t value) { co_return value; }
Task<std::int64_t> value_after_blocking(std::int64_t value) {
  co_await yield();
  co_return value;
}
Task<std::int64_t> fails() { co_return fail(ErrorKind::io, "no allocation"); }
Task<std::int64_t> passes_on() { co_return 1 + co_await fails(); }

// Each of these runs the whole measurement in one coroutine: its loop is the benchmark's.
Task<void> await_at_once(benchmark::State& state) {
  std::int64_t sum = 0;
  for (auto _ : state) sum += co_await value_at_once(1);
  benchmark::DoNotOptimize(sum);
}
Task<void> await_blocking(benchmark::State& state) {
  std::int64_t sum = 0;
  for (auto _ : state) sum += co_await value_after_blocking(1);
  benchmark::DoNotOptimize(sum);
}
Task<void> await_yield(benchmark::State& state) {
  for (auto _ : state) co_await yield();
}
Task<void> await_error(benchmark::State& state) {
  std::int64_t errors = 0;
  for (auto _ : state) errors += co_await passes_on().result() ? 0 : 1;
  benchmark::DoNotOptimize(errors);
}
Task<void> make_error(benchmark::State& state) {
  for (auto _ : state) {
    const Result<std::int64_t> result = fail(ErrorKind::io, "no allocation");
    benchmark::DoNotOptimize(result.has_value());
  }
  co_return;
}
Task<void> lock_mutex(benchmark::State& state) {
  AsyncMutex mutex;
  for (auto _ : state) const auto guard = co_await mutex.lock();
}
Task<void> spawn_in_group(benchmark::State& state) {
  TaskGroup group(16);
  auto work = []() -> Task<void> { co_await yield(); };
  for (auto _ : state) co_await group.spawn(work());
  co_await group.join();
}

template <Task<void> (*kBody)(benchmark::State&)>
void run_task(benchmark::State& state) {
  RunLoop loop;
  if (!loop.run(kBody(state))) state.SkipWithError("the task failed");
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(run_task<await_at_once>)->Name("task/await_at_once");
BENCHMARK(run_task<await_yield>)->Name("task/yield");
BENCHMARK(run_task<await_blocking>)->Name("task/await_through_the_loop");
BENCHMARK(run_task<await_error>)->Name("task/error_through_two_frames");
BENCHMARK(run_task<make_error>)->Name("task/error_alone");
BENCHMARK(run_task<lock_mutex>)->Name("task/mutex_uncontended");
BENCHMARK(run_task<spawn_in_group>)->Name("task/spawn_in_group");

}  // namespace
}  // namespace platter
