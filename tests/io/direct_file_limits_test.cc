// Large files, and the page cache.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

constexpr std::uint64_t kEiB = 1024 * 1024 * kTiB;

class DirectFileLargeTest : public FileSetupTest {};
constexpr Place kLarge[] = {Place::tmpfs, Place::xfs};
INSTANTIATE_TEST_SUITE_P(On, DirectFileLargeTest, testing::ValuesIn(setups_of(kLarge)), setup_name);

TEST_P(DirectFileLargeTest, ASparseFileOfSevenExbibytesWorks) {
  const TargetFile target(GetParam().place);
  const auto file = open(target);
  const std::uint64_t size = 7 * kEiB + 3;
  get(file->truncate(size));
  EXPECT_EQ(get(file->size()), size);
  EXPECT_EQ(get(file->extents(0, size, 10)), (std::vector<Extent>{{0, size, false}}));
  const std::vector<std::byte> data = random_bytes(5000, 1);
  get(file->write(size - 5000, data));
  std::vector<std::byte> back(6000);
  EXPECT_EQ(get(file->read(size - 5000, back)), 5000U);
  back.resize(5000);
  EXPECT_EQ(back, data);
  get(file->flush());
  const std::vector<Extent> extents = get(file->extents(0, size, 10));
  ASSERT_EQ(extents.size(), 2U);
  EXPECT_GE(extents[1].offset, size - 2 * kMiB);
  get(file->write_zeroes(1, size - 1, ZeroMode::may_unmap));
  EXPECT_EQ(get(file->read(size - 10, back)), 10U);
  EXPECT_TRUE(std::all_of(back.begin(), back.begin() + 10,
                          [](std::byte byte) { return byte == std::byte{0}; }));
  get(file->discard(0, size));
  get(file->close());
}

TEST_P(DirectFileLargeTest, TheLastBlockOfTheLargestFileCanBeReadAndWritten) {
  const TargetFile target(GetParam().place);
  const auto file = open(target);
  constexpr std::uint64_t kSize = align_down(kMaxFileSize, 4096);
  get(file->truncate(kSize));
  std::vector<std::byte> data = random_bytes(100, 1);
  get(file->write(kSize - 100, data));
  std::vector<std::byte> back(100);
  EXPECT_EQ(get(file->read(kSize - 100, back)), 100U);
  EXPECT_EQ(back, data);
  EXPECT_EQ(error(file->write(kMaxFileSize - 99, data)).kind(), ErrorKind::too_large);
  EXPECT_EQ(error(file->truncate(kMaxFileSize + 1)).kind(), ErrorKind::too_large);
  get(file->close());
}

class DirectFilePageCacheTest : public FileSetupTest {
 protected:
  /// Pages of the file that the page cache holds.
  static std::size_t cached_pages(const std::string& path, std::size_t size) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    void* mapping = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
    EXPECT_NE(mapping, MAP_FAILED);
    std::vector<unsigned char> resident((size + 4095) / 4096);
    EXPECT_EQ(::mincore(mapping, size, resident.data()), 0);
    ::munmap(mapping, size);
    return static_cast<std::size_t>(
        std::ranges::count_if(resident, [](unsigned char page) { return (page & 1U) != 0; }));
  }
};
constexpr Place kCached[] = {Place::disk, Place::ext4, Place::xfs};
INSTANTIATE_TEST_SUITE_P(On, DirectFilePageCacheTest, testing::ValuesIn(setups_of(kCached)),
                         setup_name);

TEST_P(DirectFilePageCacheTest, IsLeftAloneByDirectRequests) {
  const TargetFile target(GetParam().place);
  const auto file = open(target);
  if (GetParam().cache != CacheUse::buffered && !file->traits().direct) {
    GTEST_SKIP() << "no direct I/O where $TMPDIR is";
  }
  const std::vector<std::byte> data = random_bytes(kMiB, 1);
  std::vector<std::byte> back(kMiB);
  get(file->write(0, data));
  get(file->flush());
  get(file->read(0, back));
  EXPECT_EQ(back, data);
  get(file->write(100, std::span(data).first(1000)));
  get(file->read(100, back));
  const std::size_t cached = cached_pages(target.path(), kMiB);
  if (file->traits().direct) {
    EXPECT_EQ(cached, 0U);
  } else {
    EXPECT_EQ(cached, kMiB / 4096);
  }
  get(file->close());
}

}  // namespace
}  // namespace platter::test
