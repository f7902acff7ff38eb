#include "crypto/cipher_file.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/run_tasks.h"

namespace platter::test {
namespace {

constexpr std::uint64_t kOffset = 8192;

std::shared_ptr<SectorCipher> make_cipher(std::uint32_t sector_size) {
  Secret key = Secret::make(64).value();
  for (std::size_t i = 0; i < 64; ++i) key.writable()[i] = static_cast<std::byte>(i * 7);
  return SectorCipher::create(CipherSpec(), std::move(key), sector_size).value();
}

class CipherFileTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    ring_ = *Ring::create();
    cipher_ = make_cipher(GetParam());
    auto below = std::make_unique<MemoryFile>("below", kOffset + kSize);
    below_ = below.get();
    file_ = std::make_unique<CipherFile>(std::move(below), cipher_, kOffset);
  }

  std::vector<std::byte> random(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_());
    return bytes;
  }
  std::vector<std::byte> read(std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> bytes(length);
    const Result<std::size_t> count = ring_->run(file_->read(offset, bytes));
    EXPECT_TRUE(count) << count.error().message();
    bytes.resize(count.value_or(0));
    return bytes;
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) {
    const Result<void> done = ring_->run(file_->write(offset, data));
    EXPECT_TRUE(done) << done.error().message();
  }

  static constexpr std::uint64_t kSize = 4 * kMiB;
  std::minstd_rand random_{1};
  std::unique_ptr<Ring> ring_;
  std::shared_ptr<SectorCipher> cipher_;
  MemoryFile* below_ = nullptr;
  std::unique_ptr<CipherFile> file_;
};

// Requests of all sizes and alignments, against what a plain file would hold, and what lies below
// against the cipher alone.
TEST_P(CipherFileTest, HoldsWhatWasWritten) {
  std::vector<std::byte> model = random(kSize);
  write(0, model);
  for (int round = 0; round < 300; ++round) {
    std::uint64_t offset = random_() % kSize;
    std::size_t length = random_() % (round % 10 == 0 ? 2 * kMiB : 9000);
    if (round % 3 == 0) offset = align_down(offset, 4096);
    if (round % 3 == 0) length = align_down(length, 4096);
    length = std::min<std::size_t>(length, kSize - offset);
    if (round % 2 == 0) {
      const std::vector<std::byte> data = random(length);
      write(offset, data);
      std::ranges::copy(data, model.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    const auto expected = std::span(model).subspan(offset, length);
    ASSERT_TRUE(std::ranges::equal(read(offset, length), expected)) << offset << " " << length;
  }
  std::vector<std::byte> coded(kSize);
  ASSERT_TRUE(cipher_->encrypt(0, model, coded.data()));
  std::vector<std::byte> below(kSize);
  ASSERT_EQ(ring_->run(below_->read(kOffset, below)).value(), kSize);
  EXPECT_EQ(below, coded);
}

TEST_P(CipherFileTest, WritesToOneSectorAtOnceAllCount) {
  write(0, std::vector<std::byte>(8192));
  const std::vector<std::byte> bytes = random(8192);
  std::vector<Task<void>> tasks;
  for (std::size_t at = 0; at < bytes.size(); at += 64) {
    tasks.push_back(file_->write(at, std::span(bytes).subspan(at, 64)));
  }
  ASSERT_TRUE(ring_->run(all_at_once(std::move(tasks))));
  EXPECT_EQ(read(0, bytes.size()), bytes);
}

TEST_P(CipherFileTest, ZeroesAreEncrypted) {
  write(0, random(kSize));
  ASSERT_TRUE(ring_->run(file_->write_zeroes(100, 3 * kMiB, ZeroMode::may_unmap)));
  EXPECT_EQ(read(100, 3 * kMiB), std::vector<std::byte>(3 * kMiB));
  std::vector<std::byte> below(512);
  ASSERT_TRUE(ring_->run(below_->read(kOffset + kMiB, below)));
  EXPECT_NE(below, std::vector<std::byte>(512));
}

TEST_P(CipherFileTest, EndsWithTheLastWholeSector) {
  ASSERT_TRUE(ring_->run(below_->truncate(kOffset + kSize + 100)));
  EXPECT_EQ(ring_->run(file_->size()).value(), kSize);
  EXPECT_EQ(read(kSize - 10, 100).size(), 10U);
  EXPECT_EQ(read(kSize + 10, 100).size(), 0U);
  const auto extents = ring_->run(file_->extents(4096, 2 * kSize, 10)).value();
  EXPECT_EQ(extents, std::vector<Extent>({{4096, kSize - 4096, true}}));
  EXPECT_TRUE(ring_->run(file_->extents(kSize, 1, 10))->empty());
  // Written past the end, it grows by whole sectors.
  const std::vector<std::byte> tail = random(100);
  write(kSize + 4096, tail);
  EXPECT_EQ(ring_->run(file_->size()).value(), kSize + 4096 + GetParam());
  EXPECT_EQ(read(kSize + 4096, 100), tail);
  ASSERT_TRUE(ring_->run(file_->truncate(4096)));
  EXPECT_EQ(ring_->run(below_->size()).value(), kOffset + 4096);
  ASSERT_TRUE(ring_->run(below_->truncate(100)));
  EXPECT_EQ(ring_->run(file_->size()).value(), 0U);
}

TEST_P(CipherFileTest, DiscardsNothingAndSharesNothing) {
  const std::vector<std::byte> bytes = random(kMiB);
  write(0, bytes);
  ASSERT_TRUE(ring_->run(file_->discard(0, kMiB)));
  EXPECT_EQ(read(0, kMiB), bytes);
  MemoryFile other("other", kMiB);
  EXPECT_EQ(ring_->run(file_->clone_from(other, 0, 0, kMiB)).error().kind(),
            ErrorKind::unsupported);
  EXPECT_EQ(ring_->run(file_->copy_from(other, 0, 0, kMiB)).error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(file_->locate(5).file, file_.get());
  EXPECT_EQ(file_->traits().request_alignment, GetParam());
}

TEST_P(CipherFileTest, FarOffsetsAreErrorsOrTheEnd) {
  std::vector<std::byte> bytes(10);
  EXPECT_EQ(ring_->run(file_->write(kMaxFileSize - 20, bytes)).error().kind(),
            ErrorKind::too_large);
  EXPECT_EQ(
      ring_->run(file_->write_zeroes(~std::uint64_t{0} - 5, 3, ZeroMode::may_unmap)).error().kind(),
      ErrorKind::too_large);
  EXPECT_EQ(ring_->run(file_->read(~std::uint64_t{0} - 20, bytes)).value(), 0U);
}

INSTANTIATE_TEST_SUITE_P(SectorSizes, CipherFileTest, testing::Values(512, 4096));

}  // namespace
}  // namespace platter::test
