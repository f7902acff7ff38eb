#include "io/bytes.h"

#include <cstring>
#include <limits>

#include <gtest/gtest.h>

namespace platter {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(Alignment, RoundsToPowersOfTwo) {
  EXPECT_EQ(align_down(0, 512), 0U);
  EXPECT_EQ(align_down(511, 512), 0U);
  EXPECT_EQ(align_down(512, 512), 512U);
  EXPECT_EQ(align_down(kMax, 4096), kMax - 4095);
  EXPECT_EQ(align_up(0, 512), 0U);
  EXPECT_EQ(align_up(1, 512), 512U);
  EXPECT_EQ(align_up(512, 512), 512U);
  EXPECT_EQ(align_up(7, 1), 7U);
  EXPECT_EQ(align_up(kMax - 4095, 4096), kMax - 4095);
  EXPECT_TRUE(is_aligned(0, 4096));
  EXPECT_TRUE(is_aligned(8192, 4096));
  EXPECT_FALSE(is_aligned(8193, 4096));
  EXPECT_TRUE(is_aligned(7, 1));
}

TEST(CheckedArithmetic, YieldsNothingWhereTheResultDoesNotFit) {
  EXPECT_EQ(checked_add(1, 2), 3U);
  EXPECT_EQ(checked_add(kMax, 0), kMax);
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_add(kMax / 2 + 1, kMax / 2 + 1), std::nullopt);
  EXPECT_EQ(checked_mul(3, 4), 12U);
  EXPECT_EQ(checked_mul(kMax, 1), kMax);
  EXPECT_EQ(checked_mul(kMax, 0), 0U);
  EXPECT_EQ(checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32), std::nullopt);
}

TEST(InBounds, HoldsForRangesThatEndAtTheSizeAndNeverOverflows) {
  EXPECT_TRUE(in_bounds(0, 0, 0));
  EXPECT_TRUE(in_bounds(0, 512, 512));
  EXPECT_TRUE(in_bounds(512, 0, 512));
  EXPECT_FALSE(in_bounds(513, 0, 512));
  EXPECT_FALSE(in_bounds(1, 512, 512));
  EXPECT_FALSE(in_bounds(kMax, 1, kMax));
  EXPECT_FALSE(in_bounds(2, kMax, kMax));
  EXPECT_TRUE(in_bounds(0, kMax, kMax));
}

TEST(BigEndian, StoresTheMostSignificantByteFirst) {
  const be32 value = 0x514649fb;  // qcow2's magic
  EXPECT_EQ(std::memcmp(&value, "QFI\xfb", 4), 0);
  EXPECT_EQ(value, 0x514649fbU);
}

TEST(BigEndian, LiesAtAnyAddressAndInAnyStruct) {
  struct Mixed {
    std::uint8_t first;
    be16 second;
    be64 third;
  };
  static_assert(sizeof(Mixed) == 11 && alignof(Mixed) == 1);
  Mixed mixed{1, 0x0203, 0x0405060708090a0b};
  const unsigned char expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
  EXPECT_EQ(std::memcmp(&mixed, expected, sizeof expected), 0);
  mixed.third = mixed.third + 1;
  EXPECT_EQ(mixed.third, 0x0405060708090a0cU);
}

TEST(BigEndian, KeepsEveryBitAndWorksInConstantExpressions) {
  static_assert(be16(0x1234) == 0x1234);
  static_assert(be32(0x12345678) == 0x12345678);
  static_assert(be64(kMax - 1) == kMax - 1);
  for (unsigned bit = 0; bit < 64; ++bit) {
    const std::uint64_t value = std::uint64_t{1} << bit;
    EXPECT_EQ(be64(value), value);
  }
}

}  // namespace
}  // namespace platter
