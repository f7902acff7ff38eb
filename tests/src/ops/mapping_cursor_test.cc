#include "src/ops/mapping_cursor.h"

#include <gtest/gtest.h>

#include "io/run_loop.h"
#include "tests/support/fake_image.h"

namespace platter::test {
namespace {

TEST(MappingCursor, TellsTheRestOfTheRunAtAnyPlace) {
  RunImage image(memory_file(std::vector<std::byte>(4096)));
  image.add(MappingKind::zero, 1024);
  image.add(MappingKind::data, 2048);
  image.add(MappingKind::unallocated, 512);
  image.set_batch(1);
  RunLoop loop;
  auto work = [&image]() -> Task<void> {
    MappingCursor cursor(&image);
    Mapping run = co_await cursor.at(0);
    EXPECT_EQ(run.length, 1024U);
    EXPECT_TRUE(reads_as_zeroes(run.kind));
    run = co_await cursor.at(1100);
    EXPECT_EQ(run.offset, 1100U);
    EXPECT_EQ(run.file_offset, 76U);
    EXPECT_EQ(run.length, 1024U + 2048 - 1100);
    EXPECT_FALSE(reads_as_zeroes(run.kind));
    run = co_await cursor.at(3072);
    EXPECT_EQ(run.length, 512U);
    run = co_await cursor.at(3584);
    EXPECT_EQ(run.kind, MappingKind::unallocated);
    EXPECT_GT(run.length, std::uint64_t{1} << 60);
    co_await image.close();
  };
  EXPECT_TRUE(loop.run(work()));
}

}  // namespace
}  // namespace platter::test
