// Random sequences of operations on a file of a disk that loses power at any moment: what was
// flushed is there, byte by byte, and what was not is old or new.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/run_loop.h"
#include "tests/support/crash_file.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

// What each sector, and the size, may be after a crash: as at the last flush, or as after any step
// since. Kept apart from CrashFile: whole contents, no deltas.
class Possible {
 public:
  void flushed(std::vector<std::byte> bytes) {
    versions_.clear();
    step_done(std::move(bytes));
  }
  void step_done(std::vector<std::byte> bytes) { versions_.push_back(std::move(bytes)); }

  std::string impossible(const std::vector<std::byte>& after_crash) const {
    bool size_known = false;
    for (const auto& version : versions_) {
      size_known = size_known || version.size() == after_crash.size();
    }
    if (!size_known) return "size " + std::to_string(after_crash.size());
    for (std::uint64_t at = 0; at < after_crash.size(); at += 512) {
      bool known = false;
      for (const auto& version : versions_) known = known || same_sector(version, after_crash, at);
      if (!known) return "sector at offset " + std::to_string(at);
    }
    return {};
  }

 private:
  // Zeroes lie past the end.
  static bool same_sector(const std::vector<std::byte>& version,
                          const std::vector<std::byte>& actual, std::uint64_t at) {
    const std::uint64_t end = std::min<std::uint64_t>(at + 512, actual.size());
    for (std::uint64_t i = at; i < end; ++i) {
      if ((i < version.size() ? version[i] : std::byte{0}) != actual[i]) return false;
    }
    return true;
  }

  std::vector<std::vector<std::byte>> versions_;
};

TEST(FileCrash, AtAnyPointLosesNothingThatWasFlushed) {
  const std::uint64_t seed = test_seed();
  std::uint64_t states = 0;
  for (std::uint64_t round = 0; round < 12; ++round) {
    RunLoop loop;
    CrashFile file;
    FileModel model;
    Possible possible;
    possible.flushed({});
    RandomSteps steps(
        seed + round,
        {.size_max = 20'000, .length_max = 5000, .alignment = round % 2 == 0 ? 1U : 512U});
    const auto check = [&](const CrashPlan& plan) {
      ++states;
      ASSERT_EQ(possible.impossible(file.crash_state(plan).bytes()), "")
          << to_string(plan) << ", round " << round;
    };
    file.before_flush([&] {
      for (const CrashPlan& plan : file.systematic_plans()) check(plan);
      for (std::uint64_t n = 0; n < 20; ++n) check(CrashPlan::random(n));
    });
    for (int n = 0; n < 80; ++n) {
      const FileStep step = steps.next(model.size());
      ASSERT_TRUE(loop.run(perform(file, model, step)));
      ASSERT_EQ(model.difference(0, file.live().bytes()), "") << to_string(step);
      if (step.operation == FileOperation::flush) {
        possible.flushed(file.live().bytes());
        check(CrashPlan::random(1));
      } else {
        possible.step_done(file.live().bytes());
      }
      ASSERT_FALSE(HasFailure());
    }
    ASSERT_TRUE(loop.run(file.flush()));
  }
  EXPECT_GT(states, 1000U);
}

TEST(FileCrash, AfterAFailedFlushNothingMoreIsDurable) {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t round = 0; round < 20; ++round) {
    RunLoop loop;
    auto owned = std::make_unique<CrashFile>();
    CrashFile& disk = *owned;
    FaultPlan plan;
    FaultyFile file(std::move(owned), plan);
    plan.at(FileOperation::flush, 2, Fault::fails());
    FileModel model;
    RandomSteps steps(seed + round, {.size_max = 20'000, .length_max = 5000});
    std::vector<std::byte> flushed;
    bool broken = false;
    for (int n = 0; n < 100; ++n) {
      const FileStep step = steps.next(model.size());
      const Result<void> done = loop.run(perform(file, model, step));
      ASSERT_TRUE(done || step.operation == FileOperation::flush);
      if (step.operation != FileOperation::flush) continue;
      broken = broken || !done;
      ASSERT_EQ(done.has_value(), !broken);
      if (done) flushed = disk.live().bytes();
    }
    EXPECT_EQ(disk.crash_state(CrashPlan::prefix(0)).bytes(), flushed);
  }
}

}  // namespace
}  // namespace platter::test
