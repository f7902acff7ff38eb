// Random sequences of operations on a file, with a fault at every operation in turn: what failed is
// old or new, everything else is exact.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "io/run_loop.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

constexpr int kSteps = 40;

// Runs the sequence of `seed` and returns how many steps failed.
int run_steps(FaultPlan& plan, std::uint64_t seed, std::uint64_t alignment) {
  RunLoop loop;
  FaultyFile file(std::make_unique<MemoryFile>(), plan);
  FileModel model;
  RandomSteps steps(seed, {.size_max = 9000, .length_max = 3000, .alignment = alignment});
  int failures = 0;
  for (int n = 0; n < kSteps; ++n) {
    const FileStep step = steps.next(model.size());
    SCOPED_TRACE("step " + std::to_string(n) + ": " + to_string(step));
    const Result<void> done = loop.run(perform(file, model, step));
    // The file below tells what is there, without a fault.
    std::vector<std::byte> actual = loop.run(read_all(file.below())).value();
    if (done) {
      EXPECT_EQ(actual.size(), model.size());
      EXPECT_EQ(model.difference(0, actual), "");
    } else {
      ++failures;
      EXPECT_EQ(model.settle(step, std::move(actual)), "") << done.error().message();
    }
  }
  return failures;
}

TEST(FileFaults, AtEveryOperationSpoilOnlyWhatTheyHit) {
  const std::uint64_t seed = test_seed();
  for (const std::uint64_t alignment : {1, 512}) {
    for (const Fault& fault : {Fault::fails(EIO), Fault::fails(ENOSPC), Fault::ends_short(EIO),
                               Fault::fails_late(EIO)}) {
      for (std::uint64_t n = 0; n < kSteps; ++n) {
        FaultPlan plan;
        plan.at(n, fault);
        const int failures = run_steps(plan, seed, alignment);
        ASSERT_GE(failures, 1) << "operation " << n;  // a failed flush fails again later
        ASSERT_EQ(plan.faults(), 1U);
        if (HasFailure()) FAIL() << "operation " << n;
      }
    }
  }
}

TEST(FileFaults, ManyAtRandomSpoilOnlyWhatTheyHit) {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t round = 0; round < 30; ++round) {
    FaultPlan plan;
    plan.sometimes(0.2, seed + round, Fault::fails())
        .sometimes(0.2, seed ^ round, Fault::ends_short());
    run_steps(plan, seed + round, 1);
    ASSERT_FALSE(testing::Test::HasFailure()) << "round " << round;
  }
}

}  // namespace
}  // namespace platter::test
