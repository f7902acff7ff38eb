#include "formats/qcow2/refcount_array.h"

#include <limits>

#include <gtest/gtest.h>

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

TEST(RefcountArray, EveryWidthKeepsEachCountApart) {
  for (unsigned order = 0; order <= kRefcountOrderMax; ++order) {
    auto counts = RefcountArray::create(order, 1000, kNoLimit);
    ASSERT_TRUE(counts);
    const std::uint64_t max = ~std::uint64_t{0} >> (64 - (1U << order));
    for (std::uint64_t i = 0; i < 1000; ++i) counts->set(i, (i * 0x9e3779b97f4a7c15) & max);
    for (std::uint64_t i = 0; i < 1000; ++i) {
      ASSERT_EQ(counts->get(i), (i * 0x9e3779b97f4a7c15) & max) << "order " << order;
    }
  }
}

TEST(RefcountArray, CountsLieAsARefcountBlockHasThem) {
  auto bits = RefcountArray::create(0, 16, kNoLimit);
  bits->set(1, 1);
  bits->set(8, 1);
  EXPECT_EQ(bits->bytes(0, 16)[0], std::byte{2});
  EXPECT_EQ(bits->bytes(0, 16)[1], std::byte{1});
  auto words = RefcountArray::create(4, 16, kNoLimit);
  words->set(1, 0x0102);
  EXPECT_EQ(words->bytes(1, 1)[0], std::byte{1});
  EXPECT_EQ(words->bytes(1, 1)[1], std::byte{2});
}

TEST(RefcountArray, WhatFindsNoRoomIsTold) {
  auto counts = RefcountArray::create(2, 4, kNoLimit);
  EXPECT_EQ(counts->add(3, 10), 0U);
  EXPECT_EQ(counts->add(3, 10), 5U);
  EXPECT_EQ(counts->get(3), 15U);
  EXPECT_EQ(counts->get(2), 0U);
  auto wide = RefcountArray::create(6, 4, kNoLimit);
  EXPECT_EQ(wide->add(0, kNoLimit), 0U);
  EXPECT_EQ(wide->add(0, 1), 1U);
}

TEST(RefcountArray, GrowsWithZeroesAndClears) {
  auto counts = RefcountArray::create(4, 10, kNoLimit);
  counts->set(9, 7);
  ASSERT_TRUE(counts->grow(10'000'000));
  EXPECT_EQ(counts->get(9), 7U);
  EXPECT_EQ(counts->get(9'999'999), 0U);
  counts->clear();
  EXPECT_EQ(counts->get(9), 0U);
}

TEST(RefcountArray, ALimitOnMemoryIsKept) {
  EXPECT_FALSE(RefcountArray::create(4, 1000, 1999));
  EXPECT_TRUE(RefcountArray::create(4, 1000, 2000));
  EXPECT_FALSE(RefcountArray::create(6, std::uint64_t{1} << 62, kNoLimit));
}

}  // namespace
}  // namespace platter::qcow2
