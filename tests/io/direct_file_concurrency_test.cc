// Requests to one DirectFile at once: what does not overlap does not harm each other.
#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_tasks.h"

namespace platter::test {
namespace {

class DirectFileConcurrencyTest : public FileSetupTest {};
INSTANTIATE_TEST_SUITE_P(On, DirectFileConcurrencyTest, testing::ValuesIn(all_setups()),
                         setup_name);

class DirectFileSizeRaceTest : public FileSetupTest {};
constexpr Place kFilesystems[] = {Place::disk, Place::tmpfs, Place::ext4, Place::xfs, Place::btrfs};
INSTANTIATE_TEST_SUITE_P(On, DirectFileSizeRaceTest, testing::ValuesIn(setups_of(kFilesystems)),
                         setup_name);

TEST_P(DirectFileConcurrencyTest, UnalignedNeighboursInOneBlockLoseNothing) {
  const TargetFile target(GetParam().place, random_bytes(8192, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  std::vector<std::vector<std::byte>> pieces;
  for (std::uint64_t n = 0; n < 8000 / 100; ++n) pieces.push_back(random_bytes(100, n + 2));
  std::vector<Task<void>> writes;
  for (std::size_t n = 0; n < pieces.size(); ++n) {
    writes.push_back(file->write(n * 100, pieces[n]));
    std::ranges::copy(pieces[n], all.begin() + static_cast<std::ptrdiff_t>(n * 100));
  }
  get(all_at_once(std::move(writes)));
  EXPECT_EQ(get(read_all(*file)), all);
  get(file->close());
}

// One file in pieces of all sorts, aligned and not, written and zeroed in any order at once: those
// at the end of the file grow it, its last block is a partial one, and 512-byte neighbours share
// blocks of the filesystem and pages of the cache.
TEST_P(DirectFileConcurrencyTest, APartitionWrittenInAnyOrderIsWhole) {
  const std::uint64_t seed = test_seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 4; ++round) {
    const bool device = is_block_device(GetParam().place);
    const std::uint64_t size = device ? 65'536 : 40'000 + random() % 25'000;
    const TargetFile target(GetParam().place, random_bytes(device ? size : random() % size, 1));
    const auto file = open(target);
    std::vector<std::byte> all = random_bytes(size, random());
    Buffer aligned = ring->buffers().acquire(64 * kKiB + 4096).value();
    std::ranges::copy(all, aligned.data());
    std::vector<Task<void>> tasks;
    for (std::uint64_t at = 0; at < size;) {
      std::uint64_t length = 1 + random() % 1500;
      if (random() % 2 == 0) length = align_up(at + length, 512) - at;
      length = std::min(length, size - at);
      const auto data = std::span(aligned.bytes()).subspan(at, length);
      if (random() % 4 == 0) {
        const ZeroMode mode = random() % 2 == 0 ? ZeroMode::may_unmap : ZeroMode::keep_allocated;
        tasks.push_back(file->write_zeroes(at, length, mode));
        std::fill_n(all.begin() + static_cast<std::ptrdiff_t>(at), length, std::byte{0});
      } else {
        tasks.push_back(file->write(at, data));
      }
      if (random() % 16 == 0) tasks.push_back(file->flush());
      at += length;
    }
    std::ranges::shuffle(tasks, random);
    get(all_at_once(std::move(tasks)));
    EXPECT_EQ(get(file->size()), size);
    EXPECT_EQ(FileModel(all).difference(0, get(read_all(*file))), "") << "round " << round;
    aligned = Buffer();
    get(file->flush());
    get(file->close());
    EXPECT_EQ(FileModel(all).difference(0, target.contents()), "") << "round " << round;
  }
}

// The tail goes through the page cache, and its page holds blocks that are written past it: neither
// may write back what it saw before the other, nor may the flush fail for it.
TEST_P(DirectFileSizeRaceTest, TailWritesLeaveTheBlocksOfTheirPageAlone) {
  const TargetFile target(GetParam().place, random_bytes(4096 + 3584 + 100, 1));
  std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  Buffer memory = ring->buffers().acquire(3584).value();
  for (std::uint64_t round = 0; round < 30; ++round) {
    fill_random(memory.bytes(), round);
    const std::vector<std::byte> tail = random_bytes(100, round + 1000);
    std::vector<Task<void>> tasks;
    for (std::size_t at = 0; at < 3584; at += 512) {
      tasks.push_back(file->write(4096 + at, memory.bytes().subspan(at, 512)));
    }
    tasks.insert(tasks.begin() + static_cast<std::ptrdiff_t>(round % 8),
                 file->write(4096 + 3584, tail));
    get(all_at_once(std::move(tasks)));
    std::ranges::copy(memory.bytes(), all.begin() + 4096);
    std::ranges::copy(tail, all.begin() + 4096 + 3584);
    ASSERT_EQ(FileModel(all).difference(0, get(read_all(*file))), "") << "round " << round;
  }
  memory = Buffer();
  get(file->flush());
  get(file->close());
}

TEST_P(DirectFileConcurrencyTest, ReadsBesideWritesSeeWhatIsNotWritten) {
  const TargetFile target(GetParam().place, random_bytes(64 * kKiB, 1));
  const std::vector<std::byte> all = target.contents();
  const auto file = open(target);
  const std::vector<std::byte> data = random_bytes(300, 2);
  std::vector<std::vector<std::byte>> reads(16, std::vector<std::byte>(3000));
  std::vector<Task<void>> tasks;
  for (std::uint64_t n = 0; n < 16; ++n) {
    tasks.push_back(read_exactly(*file, n * 4096 + 400, reads[n]));
    tasks.push_back(file->write(n * 4096 + 100, data));
  }
  get(all_at_once(std::move(tasks)));
  for (std::size_t n = 0; n < 16; ++n) {
    EXPECT_TRUE(std::ranges::equal(reads[n], std::span(all).subspan(n * 4096 + 400, 3000)));
  }
  get(file->close());
}

TEST_P(DirectFileSizeRaceTest, AWriteBesideACutDoesNotBringBackWhatIsCutOff) {
  for (std::uint64_t round = 0; round < 10; ++round) {
    const TargetFile target(GetParam().place, random_bytes(8192 + round * 100, 1));
    std::vector<std::byte> all = target.contents();
    const auto file = open(target);
    const std::vector<std::byte> data = random_bytes(100, 2);
    std::vector<Task<void>> tasks;
    tasks.push_back(file->write(4500, data));
    tasks.push_back(file->truncate(5000));
    if (round % 2 == 0) std::swap(tasks[0], tasks[1]);
    get(all_at_once(std::move(tasks)));
    EXPECT_EQ(get(file->size()), 5000U);
    get(file->truncate(9000));
    std::ranges::copy(data, all.begin() + 4500);
    all.resize(5000);
    all.resize(9000);
    EXPECT_EQ(FileModel(all).difference(0, get(read_all(*file))), "");
    get(file->close());
  }
}

TEST_P(DirectFileSizeRaceTest, GrowingByZeroesDoesNotCutOffAWriteFurtherOut) {
  for (std::uint64_t round = 0; round < 10; ++round) {
    const TargetFile target(GetParam().place);
    const auto file = open(target);
    const std::vector<std::byte> data = random_bytes(4096 - round % 3, 2);
    std::vector<Task<void>> tasks;
    tasks.push_back(file->write_zeroes(0, 8192, ZeroMode::may_unmap));
    tasks.push_back(file->write(16'384, data));
    tasks.push_back(file->write_zeroes(8192, 4096, ZeroMode::keep_allocated));
    tasks.push_back(file->allocate(0, 20'000));
    get(all_at_once(std::move(tasks)));
    std::vector<std::byte> all(16'384);
    all.insert(all.end(), data.begin(), data.end());
    all.resize(std::max<std::size_t>(all.size(), 20'000));
    EXPECT_EQ(get(read_all(*file)), all);
    get(file->close());
  }
}

TEST_P(DirectFileConcurrencyTest, ManyFlushesAtOnceAllSucceed) {
  const TargetFile target(GetParam().place, random_bytes(4096, 1));
  const auto file = open(target);
  std::vector<Task<void>> flushes;
  for (int n = 0; n < 50; ++n) flushes.push_back(file->flush());
  get(all_at_once(std::move(flushes)));
  get(file->flush());
  get(file->close());
}

}  // namespace
}  // namespace platter::test
