#include "formats/qcow2/layout_allocator.h"

#include <algorithm>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/support/random_ops.h"

namespace platter::qcow2 {
namespace {

TEST(ClusterSet, RunsThatTouchBecomeOne) {
  ClusterSet set;
  set.insert(10, 5);
  set.insert(20, 5);
  set.insert(15, 5);
  const auto runs = set.runs_within(0, 100);
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].first, 10U);
  EXPECT_EQ(runs[0].end, 25U);
  EXPECT_EQ(set.end(), 25U);
}

TEST(ClusterSet, BehavesAsASetOfNumbers) {
  std::mt19937_64 random(test::test_seed());
  ClusterSet set;
  std::set<std::uint64_t> model;
  const auto is_free = [&](std::uint64_t first, std::uint64_t count) {
    return model.lower_bound(first) == model.lower_bound(first + count);
  };
  for (int n = 0; n < 3000; ++n) {
    const std::uint64_t first = random() % 60;
    const std::uint64_t count = random() % 8;
    if (random() % 2 == 0) {
      set.insert(first, count);
      for (std::uint64_t i = 0; i < count; ++i) model.insert(first + i);
    } else {
      set.erase(first, count);
      for (std::uint64_t i = 0; i < count; ++i) model.erase(first + i);
    }
    for (std::uint64_t i = 0; i < 70; ++i) ASSERT_EQ(set.contains(i), model.contains(i)) << i;
    const std::uint64_t wanted = 1 + random() % 5;
    const std::uint64_t found = set.find_free(first, wanted);
    std::uint64_t expected = first;
    while (!is_free(expected, wanted)) ++expected;
    ASSERT_EQ(found, expected);
    std::uint64_t free = 0;
    while (free < wanted && !model.contains(first + free)) ++free;
    ASSERT_EQ(set.count_free(first, wanted), free);
    ASSERT_EQ(set.end(), model.empty() ? 0 : *model.rbegin() + 1);
  }
}

// Small clusters and wide counts, so that much happens soon: 64 counts in a block, 64 in the table.
LayoutAllocator small_allocator() { return {9, 6}; }

// Every cluster that is used is counted by a block that is there, and so are blocks and table.
void expect_consistent(const LayoutAllocator& allocator, unsigned block_bits) {
  const auto& table = allocator.table();
  for (const auto& run : allocator.used().runs_within(0, allocator.used().end())) {
    for (std::uint64_t index = run.first >> block_bits; index <= (run.end - 1) >> block_bits;
         ++index) {
      ASSERT_LT(index, table.size());
      EXPECT_NE(table[index], 0U) << "no block for clusters from " << (index << block_bits);
    }
  }
  std::set<std::uint64_t> blocks;
  for (const std::uint64_t block : table) {
    if (block == 0) continue;
    EXPECT_TRUE(allocator.used().contains(block));
    EXPECT_TRUE(blocks.insert(block).second) << "cluster " << block << " is two blocks";
  }
  for (std::uint64_t i = 0; i < allocator.table_clusters(); ++i) {
    EXPECT_TRUE(allocator.used().contains(allocator.table_cluster() + i));
  }
}

TEST(LayoutAllocator, HeaderTableAndFirstBlockAreTaken) {
  LayoutAllocator allocator = small_allocator();
  EXPECT_EQ(allocator.allocate(1).value(), 3U);
  EXPECT_EQ(allocator.allocate(5).value(), 4U);
  EXPECT_EQ(allocator.table_cluster(), 1U);
  EXPECT_EQ(allocator.table()[0], 2U);
}

TEST(LayoutAllocator, ABlockIsMadeWhenItsFirstClusterIsTaken) {
  LayoutAllocator allocator = small_allocator();
  EXPECT_EQ(allocator.allocate(61).value(), 3U);
  EXPECT_EQ(allocator.table()[1], 0U);
  // Cluster 64 is the first that block 1 covers: the block comes next to what was asked for.
  EXPECT_EQ(allocator.allocate(10).value(), 64U);
  EXPECT_EQ(allocator.table()[1], 74U);
  EXPECT_EQ(allocator.allocate(1).value(), 75U);
}

TEST(LayoutAllocator, ATableThatIsFullMovesAndLeavesItsEntriesBehind) {
  LayoutAllocator allocator = small_allocator();
  while (allocator.table_clusters() == 1) ASSERT_TRUE(allocator.allocate(7));
  const auto abandoned = allocator.abandoned();
  ASSERT_EQ(abandoned.size(), 1U);
  EXPECT_EQ(abandoned.begin()->first, 1U);
  EXPECT_EQ(abandoned.begin()->second[0], 2U);
  EXPECT_FALSE(allocator.used().contains(1));
  expect_consistent(allocator, 6);
}

TEST(LayoutAllocator, WhateverIsAskedForNothingIsHandedOutTwice) {
  std::mt19937_64 random(test::test_seed());
  for (unsigned order = 0; order <= 6; ++order) {
    LayoutAllocator allocator(9, order);
    ClusterSet handed_out;
    std::uint64_t next = 0;
    for (int n = 0; n < 2000; ++n) {
      std::uint64_t count = 1 + random() % 70;
      std::uint64_t first = next;
      if (random() % 3 == 0) {
        count = allocator.allocate_at(first, count).value();
      } else {
        first = allocator.allocate(count).value();
      }
      ASSERT_EQ(handed_out.count_free(first, count), count) << first;
      handed_out.insert(first, count);
      for (std::uint64_t i = 0; i < count; ++i) ASSERT_TRUE(allocator.used().contains(first + i));
      next = first + count;
    }
    expect_consistent(allocator, 12 - order);
  }
}

TEST(LayoutAllocator, AnAreaCoversItselfAndWhatIsToFollow) {
  LayoutAllocator allocator = small_allocator();
  ASSERT_TRUE(allocator.allocate(20));
  const std::uint64_t first = allocator.make_refcount_area(1000).value();
  EXPECT_EQ(allocator.used().end(), first);
  const std::uint64_t table = allocator.table_cluster();
  EXPECT_EQ(allocator.allocate_at(first, 1000).value(), 1000U);
  EXPECT_EQ(allocator.table_cluster(), table) << "nothing had to move";
  expect_consistent(allocator, 6);
}

TEST(LayoutAllocator, ATableThatNoReaderTakesIsRefused) {
  LayoutAllocator allocator = small_allocator();
  const auto refused = allocator.make_refcount_area(std::uint64_t{1} << 40);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::too_large);
}

}  // namespace
}  // namespace platter::qcow2
