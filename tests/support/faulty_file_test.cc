#include "tests/support/faulty_file.h"

#include <algorithm>
#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_tasks.h"

namespace platter::test {
namespace {

class FaultyFileTest : public testing::Test {
 protected:
  RunLoop loop;
  FaultPlan plan;
  FaultyFile file{std::make_unique<MemoryFile>("disk"), plan};
};

TEST_F(FaultyFileTest, WithoutRulesItIsTheFileBelow) {
  const auto data = random_bytes(5000, 1);
  ASSERT_TRUE(loop.run(file.write(100, data)));
  EXPECT_EQ(loop.run(file.size()).value(), 5100U);
  std::vector<std::byte> back(6000);
  EXPECT_EQ(loop.run(file.read(100, back)).value(), 5000U);
  back.resize(5000);
  EXPECT_EQ(back, data);
  EXPECT_EQ(plan.faults(), 0U);
}

TEST_F(FaultyFileTest, CountsOperationsInAllAndOfEachKind) {
  const auto data = random_bytes(10, 1);
  std::vector<std::byte> into(10);
  ASSERT_TRUE(loop.run(file.write(0, data)));
  ASSERT_TRUE(loop.run(file.write(10, data)));
  ASSERT_TRUE(loop.run(file.read(0, into)));
  ASSERT_TRUE(loop.run(file.extents(0, 10, 1)));
  EXPECT_FALSE(loop.run(file.clone_from(file, 0, 0, 1)));
  EXPECT_EQ(plan.count(), 5U);
  EXPECT_EQ(plan.count(FileOperation::write), 2U);
  EXPECT_EQ(plan.count(FileOperation::clone), 1U);
  EXPECT_EQ(plan.count(FileOperation::flush), 0U);
}

TEST_F(FaultyFileTest, FailsTheNthOperationOnly) {
  plan.at(1, Fault::fails(ENOSPC));
  const auto data = random_bytes(10, 1);
  EXPECT_TRUE(loop.run(file.write(0, data)));
  const Result<void> failed = loop.run(file.write(10, data));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind(), ErrorKind::no_space);
  EXPECT_EQ(failed.error().message(),
            "Could not write 'disk' at offset 10: No space left on device");
  EXPECT_EQ(loop.run(file.size()).value(), 10U);
  EXPECT_TRUE(loop.run(file.write(10, data)));
  EXPECT_EQ(plan.faults(), 1U);
}

TEST_F(FaultyFileTest, FailsTheNthOperationOfAKind) {
  plan.at(FileOperation::discard, 1, Fault::fails());
  EXPECT_TRUE(loop.run(file.truncate(4096)));
  EXPECT_TRUE(loop.run(file.discard(0, 10)));
  EXPECT_TRUE(loop.run(file.flush()));
  EXPECT_FALSE(loop.run(file.discard(0, 10)));
  EXPECT_TRUE(loop.run(file.discard(0, 10)));
}

TEST_F(FaultyFileTest, AShortWriteLeavesItsFirstPart) {
  plan.at(FileOperation::write, 0, {.error = Fault::Error::midway, .bytes = 700});
  const auto data = random_bytes(1000, 1);
  EXPECT_FALSE(loop.run(file.write(0, data)));
  EXPECT_EQ(loop.run(file.size()).value(), 700U);
}

TEST_F(FaultyFileTest, AShortScatteredWriteEndsWithinAPiece) {
  plan.at(0, {.error = Fault::Error::midway, .bytes = 700});
  auto data = random_bytes(1000, 1);
  const iovec pieces[] = {{data.data(), 500}, {data.data() + 500, 500}};
  EXPECT_FALSE(loop.run(file.writev(0, pieces)));
  EXPECT_EQ(loop.run(file.size()).value(), 700U);
}

TEST_F(FaultyFileTest, ALateErrorComesAfterAllIsDone) {
  plan.at(0, Fault::fails_late());
  EXPECT_FALSE(loop.run(file.truncate(1234)));
  EXPECT_EQ(loop.run(file.size()).value(), 1234U);
}

TEST_F(FaultyFileTest, AFailedFlushStaysFailed) {
  plan.at(FileOperation::flush, 1, Fault::fails(EIO));
  EXPECT_TRUE(loop.run(file.flush()));
  EXPECT_EQ(loop.run(file.flush()).error().os_error(), EIO);
  EXPECT_EQ(loop.run(file.flush()).error().os_error(), EIO);
  EXPECT_EQ(plan.faults(), 1U);
}

TEST_F(FaultyFileTest, FromTheNthOperationOnEverythingFails) {
  plan.from(1, Fault::fails(ENODEV));
  std::vector<std::byte> into(10);
  EXPECT_TRUE(loop.run(file.read(0, into)));
  EXPECT_FALSE(loop.run(file.read(0, into)));
  EXPECT_FALSE(loop.run(file.flush()));
  EXPECT_FALSE(loop.run(file.allocate(0, 1)));
}

TEST_F(FaultyFileTest, TheSameSeedFailsTheSameOperations) {
  const auto failures = [this](std::uint64_t seed) {
    plan.clear();
    plan.sometimes(0.3, seed, Fault::fails());
    std::string pattern;
    std::vector<std::byte> into(1);
    for (int i = 0; i < 100; ++i) pattern += loop.run(file.read(0, into)) ? '.' : 'x';
    return pattern;
  };
  const std::string first = failures(7);
  EXPECT_EQ(failures(7), first);
  EXPECT_NE(failures(8), first);
  const auto count = std::ranges::count(first, 'x');
  EXPECT_GT(count, 10);
  EXPECT_LT(count, 60);
}

TEST_F(FaultyFileTest, AnOperationThatWaitsIsOvertaken) {
  plan.at(0, Fault::waits(3));
  const auto slow = random_bytes(8, 1);
  const auto fast = random_bytes(8, 2);
  std::vector<Task<void>> writes;
  writes.push_back(file.write(0, slow));
  writes.push_back(file.write(0, fast));
  ASSERT_TRUE(loop.run(all_at_once(std::move(writes))));
  EXPECT_EQ(loop.run(read_all(file)).value(), slow);
}

TEST(FaultyFileOnARing, AnOperationThatSleepsTakesItsTime) {
  const std::unique_ptr<Ring> ring = Ring::create().value();
  FaultPlan plan;
  plan.at(0, Fault::sleeps(std::chrono::milliseconds(20)));
  FaultyFile file(std::make_unique<MemoryFile>(), plan);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_TRUE(ring->run(file.flush()));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(20));
}

TEST(FaultyFilePlan, MayBeSharedByAnImageAndItsBackingFile) {
  RunLoop loop;
  FaultPlan plan;
  FaultyFile top(std::make_unique<MemoryFile>("top"), plan);
  FaultyFile base(std::make_unique<MemoryFile>("base"), plan);
  plan.at(1, Fault::fails());
  EXPECT_TRUE(loop.run(top.flush()));
  EXPECT_FALSE(loop.run(base.flush()));
  EXPECT_EQ(plan.count(), 2U);
}

}  // namespace
}  // namespace platter::test
