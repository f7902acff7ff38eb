#include "tests/support/random_ops.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "io/run_loop.h"
#include "tests/support/crash_file.h"

namespace platter::test {
namespace {

TEST(RandomSteps, TheSameSeedGivesTheSameSequence) {
  RandomSteps one(5);
  RandomSteps two(5);
  RandomSteps other(6);
  std::string first;
  std::string second;
  std::string third;
  for (int i = 0; i < 50; ++i) {
    first += to_string(one.next(1000)) + "\n";
    second += to_string(two.next(1000)) + "\n";
    third += to_string(other.next(1000)) + "\n";
  }
  EXPECT_EQ(first, second);
  EXPECT_NE(first, third);
}

TEST(RandomSteps, StaysWithinItsLimitsAndAlignment) {
  RandomSteps steps(1, {.size_max = 64 * 1024, .length_max = 9000, .alignment = 512});
  std::set<FileOperation> seen;
  for (int i = 0; i < 2000; ++i) {
    const FileStep step = steps.next(static_cast<std::uint64_t>(i) * 16 % 65536 & ~511U);
    seen.insert(step.operation);
    if (step.operation == FileOperation::flush) continue;
    EXPECT_EQ(step.offset % 512, 0U) << to_string(step);
    EXPECT_EQ(step.length % 512, 0U) << to_string(step);
    if (step.operation != FileOperation::read) {
      EXPECT_LE(step.offset + step.length, 64U * 1024) << to_string(step);
    }
  }
  EXPECT_EQ(seen.size(), 6U);
}

TEST(RandomSteps, ADeviceKeepsItsSize) {
  RandomSteps steps(1, {.fixed_size = true});
  for (int i = 0; i < 500; ++i) {
    const FileStep step = steps.next(100'000);
    EXPECT_NE(step.operation, FileOperation::truncate);
    if (step.operation == FileOperation::write) {
      EXPECT_LE(step.offset + step.length, 100'000U);
    }
  }
}

TEST(FileModel, NamesTheFirstByteThatDiffers) {
  const FileModel model(std::vector<std::byte>(10));
  std::vector<std::byte> actual(10);
  EXPECT_EQ(model.difference(0, actual), "");
  actual[7] = std::byte{1};
  EXPECT_EQ(model.difference(0, actual),
            "the byte at offset 7 is 1 and should be 0; 1 bytes differ");
  EXPECT_NE(model.difference(5, actual), "");
}

TEST(FileModel, AfterADiscardAnythingGoesUntilTheNextWrite) {
  FileModel model(std::vector<std::byte>(10));
  model.apply({.operation = FileOperation::discard, .offset = 2, .length = 3});
  std::vector<std::byte> actual(10);
  actual[2] = actual[4] = std::byte{1};
  EXPECT_EQ(model.difference(0, actual), "");
  model.apply({.operation = FileOperation::write_zeroes, .offset = 4, .length = 1});
  EXPECT_NE(model.difference(0, actual), "");
}

TEST(FileModel, AFailedStepLeavesOldAndNewBytesOnly) {
  const FileStep step{.operation = FileOperation::write, .offset = 5, .length = 10, .data_seed = 1};
  FileModel model(std::vector<std::byte>(10));
  std::vector<std::byte> half(12);
  const std::vector<std::byte> data = step.data();
  std::ranges::copy(std::span(data).first(7), half.begin() + 5);
  EXPECT_EQ(model.settle(step, half), "");
  EXPECT_EQ(model.bytes(), half);
  half[6] = std::byte{0};
  half[0] = std::byte{1};
  EXPECT_NE(model.settle(step, half), "");
}

TEST(FileModel, AgreesWithAFile) {
  const std::uint64_t seed = test_seed();
  RunLoop loop;
  CrashFile file;
  FileModel model;
  RandomSteps steps(seed);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(loop.run(perform(file, model, steps.next(model.size()))));
  }
  EXPECT_EQ(loop.run(file.size()).value(), model.size());
  EXPECT_EQ(model.difference(0, loop.run(read_all(file)).value()), "");
}

}  // namespace
}  // namespace platter::test
