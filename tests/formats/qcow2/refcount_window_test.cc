#include "formats/qcow2/refcount_window.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/refcount_array.h"
#include "io/memory_file.h"
#include "io/run_loop.h"

namespace platter::qcow2 {
namespace {

using Change = RefcountWindow::Change;
using Bytes = std::vector<std::byte>;

std::uint64_t load_refcount(const Bytes& block, std::uint64_t index, unsigned order) {
  return with_refcount_width(order, [&](auto width) { return width.get(block.data(), index); });
}
void store_refcount(Bytes& block, std::uint64_t index, unsigned order, std::uint64_t count) {
  with_refcount_width(order, [&](auto width) { width.set(block.data(), index, count); });
}

// Blocks of 512 bytes, scattered over a file; block 3 is missing.
class Window : public testing::TestWithParam<unsigned> {
 protected:
  static constexpr std::uint64_t kBlocks = 8;
  static constexpr std::uint64_t kMissing = 3;

  Window() {
    header_.cluster_bits = 9;
    header_.refcount_order = GetParam();
    per_block_ = (512 * 8) >> GetParam();
    std::vector<std::uint64_t> entries(kBlocks);
    for (std::uint64_t i = 0; i < kBlocks; ++i) {
      if (i != kMissing) entries[i] = place_of(i);
    }
    table_.replace(0, entries);
    model_.assign(kBlocks * per_block_, 0);
    run(file_.truncate(64 * 512));
  }
  // Some are neighbours, some are not in order.
  static std::uint64_t place_of(std::uint64_t block) {
    return (block < 5 ? 20 + block : 9 - block) * 512;
  }
  std::uint64_t max() const {
    return with_refcount_width(GetParam(), [](auto width) { return decltype(width)::kMax; });
  }

  void run(Task<void> task) {
    RunLoop loop;
    const Result<void> done = loop.run(std::move(task));
    ASSERT_TRUE(done) << done.error().message();
  }
  void put(std::uint64_t cluster, std::uint64_t count) {
    model_[cluster] = count;
    Bytes block(512);
    for (std::uint64_t i = 0; i < per_block_; ++i) {
      store_refcount(block, i, GetParam(), model_[cluster / per_block_ * per_block_ + i]);
    }
    run(file_.write(place_of(cluster / per_block_), block));
  }
  void expect_on_disk() {
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
      if (block == kMissing) continue;
      Bytes bytes(512);
      RunLoop loop;
      ASSERT_TRUE(loop.run(file_.read(place_of(block), bytes)));
      for (std::uint64_t i = 0; i < per_block_; ++i) {
        ASSERT_EQ(load_refcount(bytes, i, GetParam()), model_[block * per_block_ + i])
            << block << " " << i;
      }
    }
  }

  Header header_;
  std::uint64_t per_block_ = 0;
  EntryTable table_{512};
  MemoryFile file_;
  std::vector<std::uint64_t> model_;
};

TEST_P(Window, RunsAreChangedAndWrittenBack) {
  std::mt19937_64 random(5);
  for (std::uint64_t i = 0; i < model_.size(); ++i)
    model_[i] = random() % (max() / 2 + 1) + max() % 2;
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    if (block != kMissing) put(block * per_block_, model_[block * per_block_]);
  }
  RefcountWindow window(header_, file_, table_, 1 << 20);
  run(window.load(0));
  EXPECT_TRUE(window.whole());
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t first = random() % model_.size();
    const std::uint64_t count = 1 + random() % (2 * per_block_);
    const std::uint64_t by = 1 + random() % 3;
    const Change change = i % 2 == 0 ? Change::raise : Change::lower;
    bool possible = first + count <= model_.size() && first + count <= (kBlocks)*per_block_;
    for (std::uint64_t c = first; possible && c < first + count; ++c) {
      possible = c / per_block_ != kMissing &&
                 (change == Change::lower ? model_[c] >= by
                                          : model_[c] > 0 && by < max() && model_[c] <= max() - by);
    }
    const Result<bool> changed = window.change(change, first, count, by);
    ASSERT_EQ(changed.has_value(), possible);
    if (!possible) {
      run(window.load(0));  // what was changed before the error goes
      continue;
    }
    bool zero = false;
    for (std::uint64_t c = first; c < first + count; ++c) {
      model_[c] = change == Change::raise ? model_[c] + by : model_[c] - by;
      zero = zero || model_[c] == 0;
    }
    EXPECT_EQ(*changed, change == Change::lower && zero);
    run(window.write());
    expect_on_disk();
  }
}

TEST_P(Window, ErrorsNameTheClusterAndWhy) {
  put(5, 0);
  put(6, max());
  RefcountWindow window(header_, file_, table_, 1 << 20);
  run(window.load(0));
  EXPECT_EQ(window.change(Change::raise, 6, 1, 1).error().kind(), ErrorKind::too_large);
  EXPECT_NE(window.change(Change::raise, 6, 1, 1).error().message().find("0xc00"),
            std::string::npos);
  const struct {
    Change change;
    std::uint64_t cluster;
    std::uint64_t by;
  } corrupt[] = {{Change::lower, 5, 1},
                 {Change::raise, 5, 1},
                 {Change::raise, kMissing * per_block_, 1},
                 {Change::lower, kMissing * per_block_ + 1, 1},
                 {Change::raise, kBlocks * per_block_, 1},
                 {Change::lower, std::uint64_t{1} << 54, 1}};
  for (const auto& [change, cluster, by] : corrupt) {
    if (change == Change::raise && max() == 1 && cluster == 5) continue;
    EXPECT_EQ(window.change(change, cluster, 1, by).error().kind(), ErrorKind::corrupt_image)
        << cluster;
  }
}

TEST_P(Window, APartOfTheBlocksIsShownAtATime) {
  for (std::uint64_t block = 0; block < kBlocks; ++block) {
    if (block == kMissing) continue;
    for (std::uint64_t i = 0; i < per_block_; ++i) model_[block * per_block_ + i] = 1;
    put(block * per_block_, 1);
  }
  RefcountWindow window(header_, file_, table_, 2 * 512);
  std::uint64_t windows = 0;
  std::uint64_t block = 0;
  do {
    run(window.load(block));
    EXPECT_FALSE(window.whole());
    EXPECT_EQ(window.first_block(), block);
    block = window.next_block();
    ++windows;
    // What lies elsewhere is left out.
    for (const std::uint64_t first : {std::uint64_t{0}, (kMissing + 1) * per_block_}) {
      const std::uint64_t end = first == 0 ? kMissing * per_block_ : kBlocks * per_block_;
      ASSERT_TRUE(window.change(Change::lower, first, end - first, 1));
    }
    run(window.write());
  } while (block < table_.size());
  EXPECT_EQ(windows, 4U);
  std::ranges::fill(model_, 0);
  expect_on_disk();
}

INSTANTIATE_TEST_SUITE_P(Orders, Window, testing::Range(0U, 7U));

}  // namespace
}  // namespace platter::qcow2
