// What a DirectFile does to space: holes, zeroes, discards, reservations, shared blocks.
#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/memory_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class DirectFileSpaceTest : public FileSetupTest {
 protected:
  std::vector<std::byte> read_everything(File& file) { return get(read_all(file)); }
  /// Sums of data and holes as extents() tells them; fails if they are not a partition.
  std::vector<Extent> extents(File& file, std::uint64_t offset, std::uint64_t length,
                              std::size_t count_max = 1000) {
    std::vector<Extent> found = get(file.extents(offset, length, count_max));
    std::uint64_t at = offset;
    for (const Extent& extent : found) {
      EXPECT_EQ(extent.offset, at);
      EXPECT_GT(extent.length, 0U);
      at += extent.length;
    }
    EXPECT_LE(at, offset + length);
    return found;
  }
  static std::uint64_t data_in(const std::vector<Extent>& extents) {
    std::uint64_t total = 0;
    for (const Extent& extent : extents) total += extent.data ? extent.length : 0;
    return total;
  }
};

INSTANTIATE_TEST_SUITE_P(On, DirectFileSpaceTest, testing::ValuesIn(all_setups()), setup_name);

class DirectFileHolesTest : public DirectFileSpaceTest {};
constexpr Place kFilesystems[] = {Place::disk, Place::tmpfs, Place::ext4, Place::xfs, Place::btrfs};
INSTANTIATE_TEST_SUITE_P(On, DirectFileHolesTest, testing::ValuesIn(setups_of(kFilesystems)),
                         setup_name);

TEST_P(DirectFileHolesTest, ExtentsTellDataFromHoles) {
  const TargetFile target(GetParam().place);
  const auto file = open(target);
  get(file->truncate(kMiB + 100));
  EXPECT_EQ(extents(*file, 0, kMiB + 100), (std::vector<Extent>{{0, kMiB + 100, false}}));
  get(file->write(128 * kKiB, random_bytes(64 * kKiB, 1)));
  get(file->write(512 * kKiB, random_bytes(64 * kKiB, 2)));
  get(file->flush());
  const std::vector<Extent> expected = {{0, 128 * kKiB, false},
                                        {128 * kKiB, 64 * kKiB, true},
                                        {192 * kKiB, 320 * kKiB, false},
                                        {512 * kKiB, 64 * kKiB, true},
                                        {576 * kKiB, 448 * kKiB + 100, false}};
  EXPECT_EQ(extents(*file, 0, kMiB + 100), expected);
  EXPECT_EQ(extents(*file, 0, kTiB), expected);
  EXPECT_EQ(extents(*file, 0, kTiB, 2),
            (std::vector<Extent>(expected.begin(), expected.begin() + 2)));
  EXPECT_EQ(extents(*file, 130 * kKiB, 100 * kKiB),
            (std::vector<Extent>{{130 * kKiB, 62 * kKiB, true}, {192 * kKiB, 38 * kKiB, false}}));
  EXPECT_EQ(extents(*file, kMiB, kMiB), (std::vector<Extent>{{kMiB, 100, false}}));
  EXPECT_TRUE(extents(*file, kMiB + 100, kMiB).empty());
  EXPECT_TRUE(extents(*file, kTiB, kMiB).empty());
  EXPECT_TRUE(extents(*file, 0, 0).empty());
  EXPECT_TRUE(extents(*file, 0, kMiB, 0).empty());
  get(file->close());
}

TEST_P(DirectFileHolesTest, AFileThatIsAllDataIsOneExtent) {
  const TargetFile target(GetParam().place, random_bytes(10'000, 1));
  const auto file = open(target);
  EXPECT_EQ(extents(*file, 0, kMiB), (std::vector<Extent>{{0, 10'000, true}}));
  EXPECT_EQ(extents(*file, 9999, 1), (std::vector<Extent>{{9999, 1, true}}));
  get(file->close());
}

TEST_P(DirectFileHolesTest, AllocatingReservesSpaceAndKeepsContents) {
  const TargetFile target(GetParam().place, random_bytes(10'000, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  get(file->allocate(5000, 100'000));
  all.resize(105'000);
  EXPECT_EQ(get(file->size()), 105'000U);
  EXPECT_EQ(read_everything(*file), all);
  EXPECT_GE(file->disk_usage().value(), 100'000U);
  get(file->allocate(0, 0));
  get(file->close());
}

TEST_P(DirectFileHolesTest, DiscardFreesSpaceAndDoesNotGrowTheFile) {
  const TargetFile target(GetParam().place, random_bytes(kMiB + 100, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  get(file->discard(64 * kKiB + 7, 512 * kKiB));
  std::fill_n(all.begin() + 64 * kKiB + 7, 512 * kKiB, std::byte{0});
  EXPECT_EQ(read_everything(*file), all);
  EXPECT_EQ(data_in(extents(*file, 68 * kKiB, 504 * kKiB)), 0U);
  get(file->discard(kMiB + 50, kTiB));
  std::fill(all.begin() + kMiB + 50, all.end(), std::byte{0});
  get(file->discard(kTiB, kTiB));
  get(file->discard(0, 0));
  EXPECT_EQ(read_everything(*file), all);
  get(file->close());
}

TEST_P(DirectFileHolesTest, ZeroesMayBecomeHolesOrStayAllocated) {
  for (const ZeroMode mode : {ZeroMode::may_unmap, ZeroMode::keep_allocated}) {
    const TargetFile target(GetParam().place, random_bytes(kMiB, 1));
    const auto file = open(target);
    get(file->flush());
    const std::uint64_t before = file->disk_usage().value();
    get(file->write_zeroes(0, 512 * kKiB, mode));
    get(file->flush());
    const std::uint64_t after = file->disk_usage().value();
    if (mode == ZeroMode::may_unmap) {
      EXPECT_LE(after, before - 512 * kKiB);
    } else if (GetParam().place != Place::btrfs) {  // counts blocks when it pleases
      EXPECT_GE(after, before);
    }
    const std::vector<std::byte> all = read_everything(*file);
    EXPECT_TRUE(std::all_of(all.begin(), all.begin() + 512 * kKiB,
                            [](std::byte byte) { return byte == std::byte{0}; }));
    get(file->close());
  }
}

TEST_P(DirectFileHolesTest, ZeroesPastTheEndGrowTheFile) {
  for (const ZeroMode mode : {ZeroMode::may_unmap, ZeroMode::keep_allocated}) {
    const TargetFile target(GetParam().place, random_bytes(5000, 1));
    std::vector<std::byte> all = target.contents();
    const auto file = open(target);
    get(file->write_zeroes(4900, 5000, mode));
    std::fill(all.begin() + 4900, all.end(), std::byte{0});
    all.resize(9900);
    EXPECT_EQ(read_everything(*file), all);
    get(file->write_zeroes(20'000, 1, mode));
    all.resize(20'001);
    EXPECT_EQ(read_everything(*file), all);
    get(file->write_zeroes(30'000, 0, mode));
    EXPECT_EQ(get(file->size()), 20'001U);
    get(file->close());
  }
}

TEST_P(DirectFileSpaceTest, ZeroesAtAnyAlignmentAreZeroesAndNothingElse) {
  const TargetFile target(GetParam().place, random_bytes(16 * kKiB, 1));
  const auto file = open(target);
  std::uint64_t seed = 1;
  for (const ZeroMode mode : {ZeroMode::may_unmap, ZeroMode::keep_allocated}) {
    for (const std::uint64_t offset : {0, 1, 512, 4095, 4096}) {
      for (const std::uint64_t length : {1, 512, 4096, 5000, 11'000}) {
        std::vector<std::byte> all = random_bytes(16 * kKiB, ++seed);
        get(file->write(0, all));
        get(file->write_zeroes(offset, length, mode));
        std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(offset), length, std::byte{0});
        ASSERT_EQ(read_everything(*file), all) << offset << "+" << length;
      }
    }
  }
  get(file->close());
}

class DirectFileOnADeviceTest : public DirectFileSpaceTest {};
constexpr Place kDevices[] = {Place::loop512, Place::loop4096};
INSTANTIATE_TEST_SUITE_P(On, DirectFileOnADeviceTest, testing::ValuesIn(setups_of(kDevices)),
                         setup_name);

TEST_P(DirectFileOnADeviceTest, IsOneExtentOfData) {
  const TargetFile target(GetParam().place, {}, kMiB);
  const auto file = open(target);
  EXPECT_EQ(extents(*file, 0, kTiB), (std::vector<Extent>{{0, kMiB, true}}));
  EXPECT_EQ(extents(*file, 4097, 10), (std::vector<Extent>{{4097, 10, true}}));
  EXPECT_TRUE(extents(*file, kMiB, 1).empty());
  get(file->close());
}

TEST_P(DirectFileOnADeviceTest, HasAFixedSize) {
  const TargetFile target(GetParam().place, {}, kMiB);
  const auto file = open(target);
  EXPECT_EQ(error(file->truncate(kMiB)).kind(), ErrorKind::unsupported);
  EXPECT_EQ(error(file->allocate(0, 4096)).kind(), ErrorKind::unsupported);
  EXPECT_EQ(get(file->size()), kMiB);
  get(file->close());
}

TEST_P(DirectFileOnADeviceTest, ZeroesPastTheEndFail) {
  for (const ZeroMode mode : {ZeroMode::may_unmap, ZeroMode::keep_allocated}) {
    const TargetFile target(GetParam().place, random_bytes(kMiB, 1));
    const auto file = open(target);
    EXPECT_EQ(error(file->write_zeroes(kMiB - 4096, 8192, mode)).kind(), ErrorKind::no_space);
    EXPECT_EQ(error(file->write_zeroes(kMiB, 4096, mode)).kind(), ErrorKind::no_space);
    EXPECT_EQ(error(file->write_zeroes(kMiB - 1, 2, mode)).kind(), ErrorKind::no_space);
    // and what works goes on working as before
    get(file->write_zeroes(0, 64 * kKiB, ZeroMode::may_unmap));
    get(file->close());
  }
}

TEST_P(DirectFileOnADeviceTest, DiscardLeavesWhatIsAroundTheRange) {
  const std::vector<std::byte> all = random_bytes(kMiB, 1);
  const TargetFile target(GetParam().place, all);
  const auto file = open(target);
  get(file->discard(10'001, 500'000));
  get(file->discard(513, 10));
  get(file->discard(kMiB - 100, kTiB));
  const std::vector<std::byte> now = read_everything(*file);
  EXPECT_TRUE(std::equal(now.begin(), now.begin() + 10'001, all.begin()));
  EXPECT_TRUE(std::equal(now.begin() + 510'001, now.end(), all.begin() + 510'001));
  get(file->close());
}

TEST_P(DirectFileOnADeviceTest, ADiscardReachesTheDevice) {
  const TargetFile target(GetParam().place, random_bytes(kMiB, 1));
  const auto file = open(target);
  get(file->discard(4096 + 1, 512 * kKiB));
  const std::vector<std::byte> now = read_everything(*file);
  EXPECT_TRUE(std::all_of(now.begin() + 8192, now.begin() + 512 * kKiB,
                          [](std::byte byte) { return byte == std::byte{0}; }));
  get(file->close());
}

// Copies by the kernel.

TEST_P(DirectFileSpaceTest, SharesBlocksWhereTheFilesystemCanAndSaysSoWhereItCannot) {
  const TargetFile source_target(GetParam().place, random_bytes(256 * kKiB, 1));
  const TargetFile target(GetParam().place, random_bytes(256 * kKiB, 2));
  const auto source = open(source_target);
  const auto file = open(target);
  std::vector<std::byte> all = target.contents();
  const Result<void> cloned =
      ring->run(file->clone_from(*source, 64 * kKiB, 128 * kKiB, 64 * kKiB));
  const bool can = GetParam().place == Place::xfs || GetParam().place == Place::btrfs;
  if (can) {
    ASSERT_TRUE(cloned) << cloned.error().message();
    const std::vector<std::byte> from = source_target.contents();
    std::copy_n(from.begin() + 64 * kKiB, 64 * kKiB, all.begin() + 128 * kKiB);
  } else if (GetParam().place != Place::disk) {
    ASSERT_FALSE(cloned);
    EXPECT_EQ(cloned.error().kind(), ErrorKind::unsupported) << cloned.error().message();
  }
  if (GetParam().place != Place::disk) EXPECT_EQ(read_everything(*file), all);
  get(source->close());
  get(file->close());
}

TEST_P(DirectFileSpaceTest, SharingNothingChangesNothing) {
  const TargetFile source_target(GetParam().place, random_bytes(64 * kKiB, 1));
  const TargetFile target(GetParam().place, random_bytes(4096, 2));
  const auto source = open(source_target);
  const auto file = open(target);
  (void)ring->run(file->clone_from(*source, 0, 0, 0));
  EXPECT_EQ(get(file->size()), 4096U);
  EXPECT_EQ(read_everything(*file), random_bytes(4096, 2));
  get(source->close());
  get(file->close());
}

TEST_P(DirectFileSpaceTest, SharingOddRangesIsUnsupported) {
  const TargetFile source_target(GetParam().place, random_bytes(64 * kKiB, 1));
  const TargetFile target(GetParam().place, random_bytes(64 * kKiB, 2));
  const auto source = open(source_target);
  const auto file = open(target);
  EXPECT_EQ(error(file->clone_from(*source, 1, 1, 4096)).kind(), ErrorKind::unsupported);
  EXPECT_EQ(error(file->clone_from(*source, 0, 100, 4096)).kind(), ErrorKind::unsupported);
  MemoryFile memory;
  EXPECT_EQ(error(file->clone_from(memory, 0, 0, 4096)).kind(), ErrorKind::unsupported);
  EXPECT_EQ(error(file->copy_from(memory, 0, 0, 4096)).kind(), ErrorKind::unsupported);
  EXPECT_FALSE(ring->run(file->clone_from(*source, ~std::uint64_t{0} - 4095, 0, 4096)));
  EXPECT_FALSE(ring->run(file->clone_from(*source, 0, ~std::uint64_t{0} - 4095, 4096)));
  EXPECT_FALSE(ring->run(file->copy_from(*source, 0, ~std::uint64_t{0} - 4095, 4096)));
  EXPECT_EQ(read_everything(*file), random_bytes(64 * kKiB, 2));
  get(source->close());
  get(file->close());
}

TEST_P(DirectFileSpaceTest, TheKernelCopiesAnyRangeOrSaysThatItCannot) {
  for (const std::uint64_t offset : {0, 4096, 1000}) {
    const TargetFile source_target(GetParam().place, random_bytes(256 * kKiB, 1));
    const TargetFile target(GetParam().place, random_bytes(256 * kKiB, 2));
    const auto source = open(source_target);
    const auto file = open(target);
    std::vector<std::byte> all = target.contents();
    const std::vector<std::byte> from = source_target.contents();
    const Result<std::uint64_t> copied = ring->run(file->copy_from(*source, offset, 8192, 100'000));
    if (copied) {
      EXPECT_EQ(*copied, 100'000U);
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(offset), 100'000, all.begin() + 8192);
    } else {
      EXPECT_EQ(copied.error().kind(), ErrorKind::unsupported) << copied.error().message();
    }
    EXPECT_EQ(read_everything(*file), all);
    get(source->close());
    get(file->close());
  }
}

TEST_P(DirectFileHolesTest, ACopyByTheKernelIsShortAtTheSourcesEnd) {
  const TargetFile source_target(GetParam().place, random_bytes(10'000, 1));
  const TargetFile target(GetParam().place);
  const auto source = open(source_target);
  const auto file = open(target);
  const Result<std::uint64_t> copied = ring->run(file->copy_from(*source, 0, 0, 100'000));
  if (copied) {
    EXPECT_EQ(*copied, 10'000U);
    EXPECT_EQ(get(file->copy_from(*source, 10'000, 10'000, 5)), 0U);
    EXPECT_EQ(read_everything(*file), random_bytes(10'000, 1));
  } else {
    EXPECT_EQ(copied.error().kind(), ErrorKind::unsupported) << copied.error().message();
  }
  get(source->close());
  get(file->close());
}

}  // namespace
}  // namespace platter::test
