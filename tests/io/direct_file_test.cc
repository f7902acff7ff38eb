// Reads, writes and sizes of a DirectFile, at any alignment, wherever files live.
#include "io/direct_file.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/support/file_targets.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class DirectFileTest : public FileSetupTest {
 protected:
  std::vector<std::byte> read(File& file, std::uint64_t offset, std::size_t length) {
    std::vector<std::byte> into(length + 1);
    // Memory at an odd address, whatever the allocator gave.
    const std::span<std::byte> odd = std::span(into).subspan(1);
    const std::size_t count = get(file.read(offset, odd));
    EXPECT_LE(count, length);
    return {into.begin() + 1, into.begin() + 1 + static_cast<std::ptrdiff_t>(count)};
  }
};

INSTANTIATE_TEST_SUITE_P(On, DirectFileTest, testing::ValuesIn(all_setups()), setup_name);

std::vector<std::byte> part(std::span<const std::byte> all, std::uint64_t offset,
                            std::uint64_t length) {
  offset = std::min<std::uint64_t>(offset, all.size());
  const auto piece = all.subspan(offset, std::min<std::uint64_t>(length, all.size() - offset));
  return {piece.begin(), piece.end()};
}

TEST_P(DirectFileTest, ReadsAnyRange) {
  const TargetFile target(GetParam().place, random_bytes(9000, 1));
  const std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  EXPECT_EQ(get(file->size()), all.size());
  for (const std::uint64_t offset : {0, 1, 511, 512, 513, 4095, 4096, 4097, 8191, 8999}) {
    for (const std::uint64_t length : {1, 2, 511, 512, 4096, 4097, 8192, 20'000}) {
      ASSERT_EQ(read(*file, offset, length), part(all, offset, length)) << offset << "+" << length;
    }
  }
  get(file->close());
}

TEST_P(DirectFileTest, ReadsNothingAtAndPastTheEnd) {
  const TargetFile target(GetParam().place, random_bytes(9000, 1));
  const auto file = open(target);
  const std::uint64_t size = get(file->size());
  for (const std::uint64_t offset : {size, size + 1, align_up(size, 4096), size + kMiB, kTiB + 3}) {
    EXPECT_TRUE(read(*file, offset, 1).empty()) << offset;
    EXPECT_TRUE(read(*file, offset, 4096).empty()) << offset;
  }
  EXPECT_TRUE(read(*file, 0, 0).empty());
  get(file->close());
}

TEST_P(DirectFileTest, AlignedMemoryAndOddMemoryReadTheSame) {
  const TargetFile target(GetParam().place, random_bytes(kMiB + 1234, 1));
  const std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  {
    Buffer buffer = ring->buffers().acquire(all.size() + 4096).value();
    EXPECT_EQ(get(file->read(0, buffer.bytes())), all.size());
    EXPECT_TRUE(std::ranges::equal(buffer.first(all.size()), all));
  }
  EXPECT_EQ(read(*file, 0, all.size() + 4096), all);
  EXPECT_EQ(read(*file, 1, all.size()), part(all, 1, all.size()));
  get(file->close());
}

TEST_P(DirectFileTest, WritesAnyRangeAndNothingElse) {
  const TargetFile target(GetParam().place, random_bytes(9000, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  std::uint64_t seed = 2;
  for (const std::uint64_t offset : {0, 1, 511, 512, 513, 4095, 4096, 4097, 8191}) {
    for (const std::uint64_t length : {1, 2, 511, 512, 4096, 4097}) {
      const std::uint64_t end = std::min<std::uint64_t>(offset + length, all.size());
      const std::vector<std::byte> data = random_bytes(end - offset, ++seed);
      get(file->write(offset, data));
      std::ranges::copy(data, all.begin() + static_cast<std::ptrdiff_t>(offset));
      ASSERT_EQ(read(*file, 0, all.size() + 1), all) << offset << "+" << length;
    }
  }
  get(file->flush());
  get(file->close());
  EXPECT_EQ(target.contents(), all);
}

TEST_P(DirectFileTest, ALongUnalignedWriteIsWhole) {
  const TargetFile target(GetParam().place, random_bytes(2 * kMiB, 1));
  std::vector<std::byte> all = target.contents();
  const std::vector<std::byte> data = random_bytes(kMiB + 77, 2);
  const auto file = open(target);
  get(file->write(4099, data));
  std::ranges::copy(data, all.begin() + 4099);
  EXPECT_EQ(read(*file, 0, all.size()), all);
  get(file->close());
}

TEST_P(DirectFileTest, AWriteOfNothingDoesNothing) {
  const TargetFile target(GetParam().place, random_bytes(4096, 1));
  const auto file = open(target);
  get(file->write(100'000, {}));
  EXPECT_EQ(get(file->size()), 4096U);
  get(file->close());
}

TEST_P(DirectFileTest, AWritePastTheEndGrowsAFileAndFailsOnADevice) {
  const TargetFile target(GetParam().place, random_bytes(4096, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  for (const auto& [offset, length] : {std::pair{4000, 200},
                                       {4200, 1},
                                       {5000, 4096},
                                       {8192, 4096},
                                       {12'288, 5},
                                       {20'000, 10'000}}) {
    const std::vector<std::byte> data = random_bytes(static_cast<std::size_t>(length), 2);
    const auto at = static_cast<std::uint64_t>(offset);
    if (is_block_device(GetParam().place)) {
      const Error failed = error(file->write(at, data));
      EXPECT_EQ(failed.kind(), ErrorKind::no_space) << failed.message();
      EXPECT_NE(failed.message().find(target.path()), std::string::npos);
      continue;
    }
    get(file->write(at, data));
    all.resize(std::max<std::size_t>(all.size(), at + data.size()));
    std::ranges::copy(data, all.begin() + offset);
    EXPECT_EQ(get(file->size()), all.size());
    ASSERT_EQ(read(*file, 0, all.size() + 5000), all) << offset;
  }
  get(file->close());
}

// The rest are matters of regular files.
class DirectRegularFileTest : public DirectFileTest {};

constexpr Place kFilesystems[] = {Place::disk, Place::tmpfs, Place::ext4, Place::xfs, Place::btrfs};
INSTANTIATE_TEST_SUITE_P(On, DirectRegularFileTest, testing::ValuesIn(setups_of(kFilesystems)),
                         setup_name);

TEST_P(DirectRegularFileTest, AWriteWithinTheLastPartialBlockDoesNotGrowTheFile) {
  for (const std::size_t size : {1, 511, 513, 4095, 4097, 10'000}) {
    const TargetFile target(GetParam().place, random_bytes(size, 1));
    std::vector<std::byte> all = target.contents();
    const auto file = open(target);
    const std::size_t begin = size > 600 ? size - 600 : 0;
    const std::vector<std::byte> data = random_bytes(size - begin, 2);
    get(file->write(begin, data));
    std::ranges::copy(data, all.begin() + static_cast<std::ptrdiff_t>(begin));
    EXPECT_EQ(get(file->size()), size);
    EXPECT_EQ(read(*file, 0, size + 1), all) << size;
    get(file->write(0, std::span(data).first(1)));
    all[0] = data[0];
    EXPECT_EQ(get(file->size()), size);
    EXPECT_EQ(read(*file, 0, size + 1), all) << size;
    get(file->close());
    EXPECT_EQ(target.contents(), all);
  }
}

TEST_P(DirectRegularFileTest, OddAppendsAddUp) {
  const TargetFile target(GetParam().place);
  const auto file = open(target);
  std::vector<std::byte> all;
  for (std::uint64_t n = 0; n < 60; ++n) {
    const std::vector<std::byte> data = random_bytes(1 + n * 37 % 700, n);
    get(file->write(all.size(), data));
    all.insert(all.end(), data.begin(), data.end());
    ASSERT_EQ(get(file->size()), all.size());
  }
  EXPECT_EQ(read(*file, 0, all.size() + 1), all);
  get(file->close());
}

TEST_P(DirectRegularFileTest, TruncateCutsAndGrowsWithZeroes) {
  const TargetFile target(GetParam().place, random_bytes(10'000, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  for (const std::size_t size : {9999, 4097, 4096, 700, 5000, 512, 0, 8192, 8193}) {
    get(file->truncate(size));
    all.resize(size);
    EXPECT_EQ(get(file->size()), size);
    ASSERT_EQ(read(*file, 0, size + 4096), all) << size;
  }
  get(file->close());
}

TEST_P(DirectRegularFileTest, WhatIsWrittenPastACutDoesNotBringBackWhatWasCutOff) {
  const TargetFile target(GetParam().place, random_bytes(20'000, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  get(file->truncate(1000));
  const std::vector<std::byte> data = random_bytes(100, 2);
  get(file->write(9000, data));
  all.resize(1000);
  all.resize(9000);
  all.insert(all.end(), data.begin(), data.end());
  EXPECT_EQ(read(*file, 0, 20'000), all);
  get(file->close());
}

// Scattered memory.

TEST_P(DirectFileTest, ScatteredRequestsAreTheSameAsOneByOne) {
  const TargetFile target(GetParam().place, random_bytes(64 * kKiB, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  Buffer memory = ring->buffers().acquire(64 * kKiB).value();
  struct Case {
    std::uint64_t offset;
    std::vector<std::size_t> lengths;
  };
  std::uint64_t seed = 1;
  for (const Case& test : {Case{0, {4096, 8192, 4096}}, Case{4096, {4096}}, Case{512, {512, 3584}},
                           Case{7, {1, 4095, 3, 900}}, Case{8192, {100, 4096, 5000}}, Case{0, {}},
                           Case{100, {0, 50, 0}}}) {
    std::vector<iovec> pieces;
    std::size_t at = 0;
    for (const std::size_t length : test.lengths) {
      pieces.push_back({memory.data() + at, length});
      at += align_up(length, 4096);
    }
    for (const iovec& piece : pieces) {
      fill_random({static_cast<std::byte*>(piece.iov_base), piece.iov_len}, ++seed);
    }
    get(file->writev(test.offset, pieces));
    std::uint64_t offset = test.offset;
    for (const iovec& piece : pieces) {
      std::ranges::copy(std::span(static_cast<std::byte*>(piece.iov_base), piece.iov_len),
                        all.begin() + static_cast<std::ptrdiff_t>(offset));
      offset += piece.iov_len;
    }
    ASSERT_EQ(read(*file, 0, all.size()), all);
    std::ranges::fill(memory.bytes(), std::byte{0});
    EXPECT_EQ(get(file->readv(test.offset, pieces)), offset - test.offset);
    offset = test.offset;
    for (const iovec& piece : pieces) {
      EXPECT_TRUE(
          std::ranges::equal(std::span(static_cast<std::byte*>(piece.iov_base), piece.iov_len),
                             std::span(all).subspan(offset, piece.iov_len)));
      offset += piece.iov_len;
    }
  }
  memory = Buffer();
  get(file->close());
}

TEST_P(DirectFileTest, AScatteredReadEndsShortAtTheEnd) {
  const TargetFile target(GetParam().place, random_bytes(8192, 1));
  const std::uint64_t size = target.contents().size();
  const auto file = open(target);
  Buffer memory = ring->buffers().acquire(12 * kKiB).value();
  const iovec pieces[] = {{memory.data(), 4096}, {memory.data() + 4096, 8192}};
  EXPECT_EQ(get(file->readv(size - 8192, pieces)), 8192U);
  EXPECT_EQ(get(file->readv(size, pieces)), 0U);
  memory = Buffer();
  get(file->close());
}

class DirectFileManyPiecesTest : public DirectFileTest {};
constexpr Place kDisk[] = {Place::disk};
INSTANTIATE_TEST_SUITE_P(On, DirectFileManyPiecesTest, testing::ValuesIn(setups_of(kDisk)),
                         setup_name);

TEST_P(DirectFileManyPiecesTest, MoreScatteredPiecesThanTheKernelTakesAtOnce) {
  const TargetFile target(GetParam().place, {}, 5 * kMiB);
  const auto file = open(target);
  Buffer memory = ring->buffers().acquire(4096).value();
  fill_random(memory.bytes(), 3);
  const std::vector<iovec> pieces(1030, iovec{memory.data(), 4096});
  get(file->writev(0, pieces));
  EXPECT_TRUE(std::ranges::equal(read(*file, 1029 * 4096, 4096), memory.bytes()));
  memory = Buffer();
  get(file->close());
}

// Traits and limits.

TEST_P(DirectFileTest, TellsWhatItIs) {
  const TargetFile target(GetParam().place, random_bytes(4096, 1));
  const auto file = open(target);
  const FileTraits& traits = file->traits();
  EXPECT_EQ(file->name(), target.path());
  EXPECT_EQ(traits.is_block_device, is_block_device(GetParam().place));
  EXPECT_EQ(traits.in_memory, GetParam().place == Place::tmpfs);
  EXPECT_FALSE(traits.read_only);
  if (GetParam().cache == CacheUse::buffered || traits.in_memory) {
    EXPECT_FALSE(traits.direct);
    EXPECT_EQ(traits.request_alignment, 1U);
  } else if (GetParam().place != Place::disk) {
    EXPECT_TRUE(traits.direct);
    EXPECT_TRUE(traits.request_alignment == 512 || traits.request_alignment == 4096);
  }
  if (GetParam().place == Place::loop4096 && traits.direct) {
    EXPECT_EQ(traits.request_alignment, 4096U);
  }
  const auto again = open(target.path(), Access::read_only);
  EXPECT_TRUE(again->traits().read_only);
  EXPECT_EQ(again->id(), file->id());
  const TargetFile other(GetParam().place, random_bytes(4096, 1));
  const auto other_file = open(other);
  EXPECT_NE(other_file->id(), file->id());
  for (const auto& each : {file.get(), again.get(), other_file.get()}) get(each->close());
}

TEST_P(DirectFileTest, OffsetsPastTheLimitAreTooLarge) {
  const TargetFile target(GetParam().place, random_bytes(4096, 1));
  const auto file = open(target);
  std::vector<std::byte> data(4096);
  for (const std::uint64_t offset : {kMaxFileSize - 1, kMaxFileSize, kMaxFileSize + 1,
                                     ~std::uint64_t{0} - 4095, ~std::uint64_t{0}}) {
    EXPECT_EQ(error(file->write(offset, data)).kind(), ErrorKind::too_large);
    EXPECT_EQ(error(file->read(offset, data)).kind(), ErrorKind::too_large);
    EXPECT_EQ(error(file->write_zeroes(offset, 4096, ZeroMode::may_unmap)).kind(),
              ErrorKind::too_large);
    EXPECT_EQ(error(file->allocate(offset, 4096)).kind(), ErrorKind::too_large);
  }
  EXPECT_EQ(get(file->size()), 4096U);
  EXPECT_EQ(read(*file, 0, 4096), target.contents());
  get(file->close());
}

TEST_P(DirectFileTest, AReadOnlyFileRefusesEveryChange) {
  const TargetFile target(GetParam().place, random_bytes(8192, 1));
  const std::vector<std::byte> all = target.contents();
  const auto file = open(target.path(), Access::read_only);
  const auto source = open(target.path(), Access::read_only);
  std::vector<std::byte> data(4096);
  for (const std::size_t length : {10, 4096}) {
    const auto piece = std::span(data).first(length);
    const iovec pieces[] = {{data.data(), length}};
    EXPECT_EQ(error(file->write(0, piece)).kind(), ErrorKind::read_only);
    EXPECT_EQ(error(file->writev(0, pieces)).kind(), ErrorKind::read_only);
    for (const ZeroMode mode : {ZeroMode::may_unmap, ZeroMode::keep_allocated}) {
      EXPECT_EQ(error(file->write_zeroes(0, length, mode)).kind(), ErrorKind::read_only);
    }
    EXPECT_EQ(error(file->discard(0, length)).kind(), ErrorKind::read_only);
    EXPECT_EQ(error(file->allocate(0, length)).kind(), ErrorKind::read_only);
    EXPECT_EQ(error(file->clone_from(*source, 0, 4096, length)).kind(), ErrorKind::read_only);
    EXPECT_EQ(error(file->copy_from(*source, 0, 4096, length)).kind(), ErrorKind::read_only);
  }
  const Error failed = error(file->truncate(0));
  EXPECT_EQ(failed.kind(), ErrorKind::read_only);
  EXPECT_NE(failed.message().find(target.path()), std::string::npos) << failed.message();
  get(file->flush());
  get(file->close());
  get(source->close());
  EXPECT_EQ(target.contents(), all);
}

TEST_P(DirectFileTest, AClosedFileRefusesAndDoesNotCrash) {
  const TargetFile target(GetParam().place, random_bytes(4096, 1));
  const auto file = open(target);
  get(file->close());
  std::vector<std::byte> data(4096);
  EXPECT_FALSE(ring->run(file->read(0, data)));
  EXPECT_FALSE(ring->run(file->write(0, data)));
  EXPECT_FALSE(ring->run(file->size()));
  EXPECT_FALSE(ring->run(file->flush()));
}

TEST_P(DirectFileTest, FlushesOfAllDurabilitiesSucceed) {
  for (const Durability durability :
       {Durability::on_flush, Durability::every_write, Durability::never}) {
    const TargetFile target(GetParam().place, random_bytes(9000, 1));
    std::vector<std::byte> all = target.contents();
    const auto file = get(DirectFile::open(
        target.path(),
        {.access = Access::read_write, .cache = GetParam().cache, .durability = durability}));
    const std::vector<std::byte> data = random_bytes(1000, 2);
    get(file->write(7900, data));
    std::ranges::copy(data, all.begin() + 7900);
    get(file->flush());
    EXPECT_EQ(read(*file, 0, all.size()), all);
    get(file->close());
  }
}

}  // namespace
}  // namespace platter::test
