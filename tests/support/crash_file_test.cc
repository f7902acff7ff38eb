#include "tests/support/crash_file.h"

#include <chrono>
#include <set>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/run_loop.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_tasks.h"

namespace platter::test {
namespace {

constexpr std::size_t kSector = CrashFile::kSectorSize;

std::vector<std::byte> sectors(std::size_t count, int value) {
  return std::vector<std::byte>(count * kSector, static_cast<std::byte>(value));
}

class CrashFileTest : public testing::Test {
 protected:
  void write(std::uint64_t sector, std::size_t count, int value) {
    ASSERT_TRUE(loop.run(file.write(sector * kSector, sectors(count, value))));
  }
  /// The first byte of each sector after a crash.
  std::vector<int> crash(const CrashPlan& plan) const {
    const std::vector<std::byte> bytes = file.crash_state(plan).bytes();
    std::vector<int> values;
    for (std::size_t at = 0; at < bytes.size(); at += kSector) {
      values.push_back(std::to_integer<int>(bytes[at]));
    }
    return values;
  }
  using Values = std::vector<int>;

  RunLoop loop;
  CrashFile file;
};

TEST_F(CrashFileTest, NothingIsDurableBeforeAFlush) {
  write(0, 4, 1);
  EXPECT_EQ(file.crash_points(), 1U);
  EXPECT_EQ(file.crash_state(CrashPlan::prefix(0)).size(), 0U);
  EXPECT_EQ(crash(CrashPlan::prefix(1)), (Values{1, 1, 1, 1}));
}

TEST_F(CrashFileTest, EverythingIsDurableAfterAFlush) {
  write(0, 2, 1);
  ASSERT_TRUE(loop.run(file.truncate(3 * kSector)));
  ASSERT_TRUE(loop.run(file.flush()));
  EXPECT_EQ(file.crash_points(), 0U);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(crash(CrashPlan::random(seed)), (Values{1, 1, 0}));
  }
}

TEST_F(CrashFileTest, APrefixStopsAtAnyOperation) {
  write(0, 2, 9);
  ASSERT_TRUE(loop.run(file.flush()));
  write(0, 1, 1);
  write(1, 1, 2);
  ASSERT_TRUE(loop.run(file.write_zeroes(0, kSector, ZeroMode::may_unmap)));
  EXPECT_EQ(crash(CrashPlan::prefix(0)), (Values{9, 9}));
  EXPECT_EQ(crash(CrashPlan::prefix(1)), (Values{1, 9}));
  EXPECT_EQ(crash(CrashPlan::prefix(2)), (Values{1, 2}));
  EXPECT_EQ(crash(CrashPlan::prefix(3)), (Values{0, 2}));
}

TEST_F(CrashFileTest, AnySingleOperationMayBeMissingOrTheOnlyOne) {
  write(0, 3, 9);
  ASSERT_TRUE(loop.run(file.flush()));
  for (int n = 0; n < 3; ++n) write(static_cast<std::uint64_t>(n), 1, n + 1);
  EXPECT_EQ(crash(CrashPlan::all_but(1)), (Values{1, 9, 3}));
  EXPECT_EQ(crash(CrashPlan::only(1)), (Values{9, 2, 9}));
  EXPECT_EQ(file.systematic_plans().size(), 4U + 2U + 2U);
}

TEST_F(CrashFileTest, ALaterWriteDoesNotResurrectOrUndoAnEarlierOneInItsSector) {
  ASSERT_TRUE(loop.run(file.truncate(kSector)));
  ASSERT_TRUE(loop.run(file.flush()));
  ASSERT_TRUE(loop.run(file.write(0, random_bytes(100, 1))));
  const std::vector<std::byte> first = file.live().bytes();
  ASSERT_TRUE(loop.run(file.write(50, random_bytes(100, 2))));
  const std::vector<std::byte> second = file.live().bytes();
  const std::vector<std::byte> none(kSector);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto bytes = file.crash_state(CrashPlan::random(seed)).bytes();
    EXPECT_TRUE(bytes == none || bytes == first || bytes == second) << seed;
  }
}

TEST_F(CrashFileTest, RandomPlansReachEverySubsetTearAndOrder) {
  write(0, 2, 9);
  ASSERT_TRUE(loop.run(file.flush()));
  write(0, 2, 1);
  write(0, 2, 2);
  std::set<Values> seen;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) seen.insert(crash(CrashPlan::random(seed)));
  EXPECT_EQ(seen.size(), 9U);  // each of two sectors: 9, 1 or 2
}

TEST_F(CrashFileTest, TheSamePlanGivesTheSameDisk) {
  for (int n = 1; n < 50; ++n) write(static_cast<std::uint64_t>(n * 7 % 20), 5, n);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(crash(CrashPlan::random(seed)), crash(CrashPlan::random(seed)));
  }
}

TEST_F(CrashFileTest, TheSizeIsOldOrNewAndCutsWhatLiesPastIt) {
  write(0, 4, 9);
  ASSERT_TRUE(loop.run(file.flush()));
  ASSERT_TRUE(loop.run(file.truncate(kSector)));
  write(5, 1, 1);
  std::set<std::uint64_t> sizes;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const Values values = crash(CrashPlan::random(seed));
    sizes.insert(values.size());
    EXPECT_EQ(values[0], 9);
    if (values.size() > 4) EXPECT_EQ(values[4], 0);
  }
  EXPECT_EQ(sizes, (std::set<std::uint64_t>{1, 4, 6}));
}

TEST_F(CrashFileTest, APrefixThatShrinksAndGrowsReadsZeroes) {
  write(0, 4, 9);
  ASSERT_TRUE(loop.run(file.flush()));
  ASSERT_TRUE(loop.run(file.truncate(kSector)));
  ASSERT_TRUE(loop.run(file.truncate(4 * kSector)));
  EXPECT_EQ(crash(CrashPlan::prefix(1)), (Values{9}));
  EXPECT_EQ(crash(CrashPlan::prefix(2)), (Values{9, 0, 0, 0}));
}

TEST_F(CrashFileTest, AFailedFlushMakesNothingDurableAndStaysFailed) {
  write(0, 1, 1);
  file.fail_flushes(EIO);
  EXPECT_EQ(loop.run(file.flush()).error().os_error(), EIO);
  EXPECT_EQ(loop.run(file.flush()).error().os_error(), EIO);
  EXPECT_EQ(file.crash_points(), 1U);
  EXPECT_EQ(file.crash_state(CrashPlan::prefix(0)).size(), 0U);
}

TEST(CrashFile, AFlushThatAFaultyFileFailsNeverReachesTheDisk) {
  RunLoop loop;
  auto owned = std::make_unique<CrashFile>();
  CrashFile& disk = *owned;
  FaultPlan plan;
  FaultyFile file(std::move(owned), plan);
  plan.at(FileOperation::flush, 0, Fault::fails());
  ASSERT_TRUE(loop.run(file.write(0, sectors(1, 1))));
  EXPECT_FALSE(loop.run(file.flush()));
  EXPECT_EQ(disk.crash_points(), 1U);
  EXPECT_EQ(disk.flushes(), 0U);
}

TEST_F(CrashFileTest, TheStatesBeforeAFlushCanBeLookedAt) {
  std::vector<std::size_t> points;
  file.before_flush([&] { points.push_back(file.crash_points()); });
  write(0, 1, 1);
  write(1, 1, 1);
  ASSERT_TRUE(loop.run(file.flush()));
  ASSERT_TRUE(loop.run(file.flush()));
  EXPECT_EQ(points, (std::vector<std::size_t>{2, 0}));
}

TEST(CrashFile, DiscardedDataMayBeAnything) {
  RunLoop loop;
  CrashFile file({.discarded = std::byte{0xdd}});
  ASSERT_TRUE(loop.run(file.write(0, sectors(2, 1))));
  ASSERT_TRUE(loop.run(file.discard(kSector, 100 * kSector)));
  EXPECT_EQ(loop.run(file.size()).value(), 2 * kSector);
  EXPECT_EQ(file.live().bytes()[kSector], std::byte{0xdd});
}

TEST_F(CrashFileTest, ScatteredMemoryIsOneOperationThatMayBeTorn) {
  ASSERT_TRUE(loop.run(file.truncate(2 * kSector)));
  ASSERT_TRUE(loop.run(file.flush()));
  const auto first = sectors(1, 1);
  const auto second = sectors(1, 2);
  const auto piece = [](const std::vector<std::byte>& bytes, std::size_t from, std::size_t length) {
    return iovec{const_cast<std::byte*>(bytes.data()) + from, length};
  };
  const iovec pieces[] = {piece(first, 0, 100), piece(first, 100, 412), piece(second, 0, 512)};
  ASSERT_TRUE(loop.run(file.writev(0, pieces)));
  EXPECT_EQ(file.crash_points(), 1U);
  std::set<Values> seen;
  for (std::uint64_t seed = 0; seed < 500; ++seed) seen.insert(crash(CrashPlan::random(seed)));
  EXPECT_EQ(seen, (std::set<Values>{{0, 0}, {0, 2}, {1, 0}, {1, 2}}));
}

// A write that returned before the flush was called is durable after it; one that was in flight
// may be; and whatever was durable, a flush of everything makes the disk what is live.
TEST(CrashFile, WritesInFlightDuringAFlushStayUncertain) {
  unsigned uncertain = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    RunLoop loop;
    CrashFile file({.yields_max = 4, .seed = seed});
    ASSERT_TRUE(loop.run(file.write(0, sectors(1, 1))));
    std::vector<Task<void>> tasks;
    const auto early = sectors(2, 2);
    const auto late = sectors(2, 3);
    tasks.push_back(file.write(kSector, early));
    tasks.push_back(file.flush());
    tasks.push_back(file.write(2 * kSector, late));
    ASSERT_TRUE(loop.run(all_at_once(std::move(tasks))));
    EXPECT_GE(file.durable().size(), kSector);
    if (file.crash_points() > 0) ++uncertain;
    EXPECT_EQ(file.crash_state(CrashPlan::prefix(file.crash_points())).bytes(),
              file.live().bytes());
    ASSERT_TRUE(loop.run(file.flush()));
    EXPECT_EQ(file.durable().bytes(), file.live().bytes());
  }
  EXPECT_GT(uncertain, 0U);
}

// Any mixture of operations and flushes in flight at once: all of what is pending, in order, on
// top of what is durable, is always what is live.
TEST(CrashFile, DurablePlusPendingIsAlwaysLive) {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t round = 0; round < 100; ++round) {
    RunLoop loop;
    CrashFile file({.yields_max = 5, .seed = seed + round});
    RandomSteps steps(seed + round, {.size_max = 32 * kKiB, .length_max = 8 * kKiB});
    FileModel ignored;
    std::vector<FileModel> models(40);
    for (int batch = 0; batch < 3; ++batch) {
      std::vector<Task<void>> tasks;
      for (FileModel& model : models) {
        FileStep step = steps.next(file.live().size());
        if (step.operation == FileOperation::read) step.operation = FileOperation::flush;
        tasks.push_back(perform(file, model, step));
      }
      ASSERT_TRUE(loop.run(all_at_once(std::move(tasks))));
      ASSERT_EQ(file.crash_state(CrashPlan::prefix(file.crash_points())).bytes(),
                file.live().bytes());
    }
  }
}

TEST(CrashFile, ManyStatesOfALargeDiskAreCheap) {
  RunLoop loop;
  CrashFile file;
  for (std::uint64_t at = 0; at < 64; ++at) {  // 16 MiB of data on a disk of 1 TiB
    ASSERT_TRUE(loop.run(file.write(at * kGiB, random_bytes(256 * kKiB, at))));
  }
  ASSERT_TRUE(loop.run(file.truncate(kTiB)));
  ASSERT_TRUE(loop.run(file.flush()));
  for (std::uint64_t n = 0; n < 20; ++n) {
    ASSERT_TRUE(loop.run(file.write(n * kGiB + 64 * kKiB, random_bytes(4096, n))));
  }
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t size = 0;
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    size |= file.crash_state(CrashPlan::random(seed)).size();
  }
  EXPECT_EQ(size, kTiB);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace platter::test
