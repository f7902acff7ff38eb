#include "formats/window_file.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "io/ring.h"

namespace platter::test {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class WindowFileTest : public testing::Test {
 protected:
  void SetUp() override { ring_ = *Ring::create(); }

  Result<std::unique_ptr<File>> make(std::uint64_t offset, std::optional<std::uint64_t> size) {
    auto below = std::make_unique<MemoryFile>("below", 8192);
    below_ = below.get();
    return ring_->run(WindowFile::make(std::move(below), offset, size));
  }
  std::string read(File& file, std::uint64_t offset, std::size_t length) {
    std::string text(length, '\0');
    const Result<std::size_t> count =
        ring_->run(file.read(offset, std::as_writable_bytes(std::span(text))));
    EXPECT_TRUE(count);
    text.resize(count.value_or(0));
    return text;
  }

  std::unique_ptr<Ring> ring_;
  File* below_ = nullptr;
};

TEST_F(WindowFileTest, ByteNIsByteNBehindTheOffset) {
  const auto file = *make(1000, 512);
  ASSERT_TRUE(ring_->run(below_->write(1000, bytes_of("inside"))));
  EXPECT_EQ(read(*file, 0, 6), "inside");
  ASSERT_TRUE(ring_->run(file->write(10, bytes_of("here"))));
  EXPECT_EQ(read(*below_, 1010, 4), "here");
  EXPECT_EQ(file->locate(10).file, below_);
  EXPECT_EQ(file->locate(10).offset, 1010U);
}

TEST_F(WindowFileTest, NothingBehindTheWindowIsReadOrChanged) {
  const auto file = *make(512, 1024);
  ASSERT_TRUE(ring_->run(below_->write(512 + 1024, bytes_of("outside"))));
  EXPECT_EQ(read(*file, 1020, 100).size(), 4U);
  EXPECT_EQ(read(*file, 5000, 1), "");
  EXPECT_EQ(ring_->run(file->write(1023, bytes_of("xx"))).error().kind(), ErrorKind::no_space);
  EXPECT_EQ(ring_->run(file->write_zeroes(0, 1025, ZeroMode::may_unmap)).error().kind(),
            ErrorKind::no_space);
  EXPECT_EQ(ring_->run(file->discard(1024, 1)).error().kind(), ErrorKind::no_space);
  EXPECT_EQ(read(*below_, 512 + 1024, 7), "outside");
}

TEST_F(WindowFileTest, OffsetsNearTheLargestAreNoWayOut) {
  const auto file = *make(512, 1024);
  const std::uint64_t huge = ~std::uint64_t{0} - 100;
  EXPECT_FALSE(ring_->run(file->write(huge, bytes_of("x"))));
  EXPECT_FALSE(ring_->run(file->write_zeroes(1, huge, ZeroMode::may_unmap)));
  EXPECT_EQ(read(*file, huge, 200), "");
}

TEST_F(WindowFileTest, WithASizeItIsNeverAnother) {
  const auto file = *make(512, 1024);
  EXPECT_EQ(ring_->run(file->truncate(2048)).error().message(),
            "Cannot resize fixed-size raw disks");
  EXPECT_EQ(*ring_->run(file->size()), 1024U);
}

TEST_F(WindowFileTest, WithoutOneItEndsAndGrowsWithTheFile) {
  const auto file = *make(8000, std::nullopt);
  EXPECT_EQ(*ring_->run(file->size()), 192U);
  ASSERT_TRUE(ring_->run(file->truncate(1000)));
  EXPECT_EQ(*ring_->run(below_->size()), 9000U);
}

TEST_F(WindowFileTest, ExtentsAreItsOwn) {
  const auto file = *make(512, 1024);
  const auto extents = ring_->run(file->extents(0, 4096, 10));
  ASSERT_TRUE(extents);
  EXPECT_EQ(*extents, (std::vector<Extent>{{0, 1024, false}}));
}

TEST_F(WindowFileTest, AWindowThatDoesNotFitIsRefused) {
  EXPECT_FALSE(make(8193, std::nullopt));
  EXPECT_FALSE(make(0, 8704));
  EXPECT_FALSE(make(1, 8192));
  EXPECT_FALSE(make(0, 1000)) << "no whole sectors";
  EXPECT_TRUE(make(8192, 0));
}

}  // namespace
}  // namespace platter::test
