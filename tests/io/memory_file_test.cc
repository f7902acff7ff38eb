#include "io/memory_file.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/run_loop.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

constexpr std::uint64_t kChunk = MemoryFile::kChunkSize;

class MemoryFileTest : public testing::Test {
 protected:
  template <class T>
  T get(Task<T> task) {
    Result<T> result = loop.run(std::move(task));
    if (!result) ADD_FAILURE() << result.error().message();
    if constexpr (!std::is_void_v<T>) return result ? *std::move(result) : T();
  }

  RunLoop loop;
  MemoryFile file{"ram"};
};

TEST_F(MemoryFileTest, StartsAsZeroesThatTakeNoMemory) {
  MemoryFile large("large", kTiB);
  std::vector<std::byte> into(100, std::byte{1});
  EXPECT_EQ(get(large.read(kTiB - 50, into)), 50U);
  EXPECT_TRUE(std::all_of(into.begin(), into.begin() + 50,
                          [](std::byte byte) { return byte == std::byte{0}; }));
  EXPECT_EQ(large.allocated(), 0U);
  EXPECT_EQ(get(large.extents(0, kTiB, 9)), (std::vector<Extent>{{0, kTiB, false}}));
}

TEST_F(MemoryFileTest, KeepsWhatIsWrittenAcrossChunks) {
  const std::vector<std::byte> data = random_bytes(3 * kChunk, 1);
  get(file.write(kChunk - 7, data));
  EXPECT_EQ(get(file.size()), 4 * kChunk - 7);
  std::vector<std::byte> back(data.size());
  EXPECT_EQ(get(file.read(kChunk - 7, back)), back.size());
  EXPECT_EQ(back, data);
  EXPECT_EQ(file.allocated(), 4 * kChunk);
}

TEST_F(MemoryFileTest, ReadsAreShortAtTheEndOnly) {
  get(file.write(0, random_bytes(100, 1)));
  std::vector<std::byte> into(50);
  EXPECT_EQ(get(file.read(40, into)), 50U);
  EXPECT_EQ(get(file.read(60, into)), 40U);
  EXPECT_EQ(get(file.read(100, into)), 0U);
  EXPECT_EQ(get(file.read(kMaxFileSize, into)), 0U);
  EXPECT_EQ(loop.run(read_exactly(file, 60, into)).error().kind(), ErrorKind::file_changed);
}

TEST_F(MemoryFileTest, WritesOfNothingAndPastTheLimit) {
  get(file.write(500, {}));
  get(file.write_zeroes(500, 0, ZeroMode::keep_allocated));
  get(file.allocate(500, 0));
  EXPECT_EQ(get(file.size()), 0U);
  const std::vector<std::byte> data(10);
  const Result<void> failed = loop.run(file.write(kMaxFileSize - 9, data));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind(), ErrorKind::too_large);
  EXPECT_NE(failed.error().message().find("'ram'"), std::string::npos);
  EXPECT_FALSE(loop.run(file.truncate(~std::uint64_t{0})));
  EXPECT_FALSE(loop.run(file.write_zeroes(~std::uint64_t{0}, 2, ZeroMode::may_unmap)));
  get(file.write(kMaxFileSize - 10, data));
  EXPECT_EQ(get(file.size()), kMaxFileSize);
  get(file.truncate(kMaxFileSize - 5));
  get(file.truncate(0));
  EXPECT_EQ(file.allocated(), 0U);
}

TEST_F(MemoryFileTest, HolesGiveMemoryBack) {
  get(file.write(0, random_bytes(4 * kChunk, 1)));
  get(file.discard(100, 2 * kChunk));
  EXPECT_EQ(file.allocated(), 3 * kChunk);
  get(file.write_zeroes(kChunk, 2 * kChunk, ZeroMode::may_unmap));
  EXPECT_EQ(file.allocated(), 2 * kChunk);
  EXPECT_EQ(get(file.extents(0, 4 * kChunk, 9)),
            (std::vector<Extent>{
                {0, kChunk, true}, {kChunk, 2 * kChunk, false}, {3 * kChunk, kChunk, true}}));
  get(file.write_zeroes(kChunk, kChunk, ZeroMode::keep_allocated));
  EXPECT_EQ(file.allocated(), 3 * kChunk);
  get(file.truncate(10));
  EXPECT_EQ(file.allocated(), kChunk);
}

TEST_F(MemoryFileTest, ExtentsStartAndEndWhereTheyAreAskedTo) {
  get(file.truncate(10 * kChunk + 5));
  get(file.write(2 * kChunk, random_bytes(kChunk, 1)));
  const std::uint64_t at = kChunk + 3;
  const std::vector<Extent> all = {{at, 2 * kChunk - at, false},
                                   {2 * kChunk, kChunk, true},
                                   {3 * kChunk, 7 * kChunk + 5, false}};
  EXPECT_EQ(get(file.extents(at, kTiB, 9)), all);
  EXPECT_EQ(get(file.extents(at, kTiB, 1)), (std::vector<Extent>(all.begin(), all.begin() + 1)));
  EXPECT_EQ(get(file.extents(2 * kChunk + 1, 2, 9)),
            (std::vector<Extent>{{2 * kChunk + 1, 2, true}}));
  EXPECT_TRUE(get(file.extents(10 * kChunk + 5, 1, 9)).empty());
  EXPECT_TRUE(get(file.extents(0, 10, 0)).empty());
}

TEST_F(MemoryFileTest, CanNeitherShareBlocksNorHaveTheKernelCopy) {
  MemoryFile other;
  EXPECT_EQ(loop.run(file.clone_from(other, 0, 0, 1)).error().kind(), ErrorKind::unsupported);
  EXPECT_EQ(loop.run(file.copy_from(other, 0, 0, 1)).error().kind(), ErrorKind::unsupported);
}

TEST_F(MemoryFileTest, ScatteredRequestsGoPieceByPiece) {
  std::vector<std::byte> data = random_bytes(300, 1);
  const iovec out[] = {{data.data(), 100}, {data.data() + 100, 0}, {data.data() + 100, 200}};
  get(file.writev(10, out));
  std::vector<std::byte> back(400);
  const iovec in[] = {{back.data(), 250}, {back.data() + 250, 150}};
  EXPECT_EQ(get(file.readv(10, in)), 300U);
  back.resize(300);
  EXPECT_EQ(back, data);
}

TEST_F(MemoryFileTest, RandomSequencesAgreeWithAModel) {
  const std::uint64_t seed = test_seed();
  for (const std::uint64_t alignment : {1, 512, 4096}) {
    MemoryFile random_file;
    FileModel model;
    RandomSteps steps(seed, {.alignment = alignment});
    for (int n = 0; n < 600; ++n) {
      get(perform(random_file, model, steps.next(model.size())));
      ASSERT_EQ(get(random_file.size()), model.size());
    }
    EXPECT_EQ(model.difference(0, get(read_all(random_file))), "");
  }
}

}  // namespace
}  // namespace platter::test
