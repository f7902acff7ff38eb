#include "io/zero.h"

#include <algorithm>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace platter {
namespace {

class ZeroScanners : public ::testing::TestWithParam<ZeroScanner> {};
INSTANTIATE_TEST_SUITE_P(, ZeroScanners,
                         ::testing::ValuesIn(zero_scanners().begin(), zero_scanners().end()),
                         [](const auto& suite) { return std::string(suite.param.name); });

constexpr std::byte kData{0x80};

TEST_P(ZeroScanners, FindOneByteAtEveryPositionOfEverySizeAtEveryAlignment) {
  constexpr std::size_t kSizeMax = 300;  // more than the four vectors of the widest loop
  constexpr std::size_t kAlignments = 64;
  std::vector<std::byte> memory(kSizeMax + 2 * kAlignments);
  const auto scan = GetParam().scan;
  for (std::size_t shift = 0; shift < kAlignments; ++shift) {
    // Every size at some alignments, some sizes at every alignment: all of both takes a minute.
    const std::size_t size_step = shift % 16 < 2 ? 1 : 13;
    for (std::size_t size = 0; size <= kSizeMax; size += size_step) {
      std::byte* const begin = memory.data() + shift;
      ASSERT_TRUE(scan(begin, size)) << "size " << size << ", shift " << shift;
      for (std::size_t at = 0; at < size; ++at) {
        begin[at] = kData;
        ASSERT_FALSE(scan(begin, size)) << "size " << size << ", shift " << shift << ", at " << at;
        begin[at] = std::byte{0};
      }
    }
  }
}

TEST_P(ZeroScanners, LookAtNothingOutsideOfTheirRange) {
  constexpr std::size_t kMargin = 64;
  for (std::size_t size = 0; size <= 600; ++size) {
    std::vector<std::byte> memory(size + 2 * kMargin, kData);
    std::fill_n(memory.begin() + kMargin, size, std::byte{0});
    ASSERT_TRUE(GetParam().scan(memory.data() + kMargin, size)) << "size " << size;
    // And at the very end of an allocation, where AddressSanitizer watches.
    const std::vector<std::byte> exact(size);
    ASSERT_TRUE(GetParam().scan(exact.data(), size)) << "size " << size;
  }
}

TEST_P(ZeroScanners, FindEveryBitOfEveryByteOfABlock) {
  std::vector<std::byte> block(4096);
  for (std::size_t bit = 0; bit < block.size() * 8; ++bit) {
    block[bit / 8] = static_cast<std::byte>(1U << bit % 8);
    ASSERT_FALSE(GetParam().scan(block.data(), block.size())) << "bit " << bit;
    block[bit / 8] = std::byte{0};
  }
  EXPECT_TRUE(GetParam().scan(block.data(), block.size()));
}

TEST_P(ZeroScanners, FindOneByteInAMebibyte) {
  std::vector<std::byte> block(std::size_t{1} << 20);
  std::minstd_rand random(1);
  for (int i = 0; i < 200; ++i) {
    const std::size_t at = random() % block.size();
    block[at] = kData;
    ASSERT_FALSE(GetParam().scan(block.data(), block.size())) << "at " << at;
    block[at] = std::byte{0};
  }
  EXPECT_TRUE(GetParam().scan(block.data(), block.size()));
}

TEST(ZeroScannerList, EndsWithTheOneThatEveryCpuCanRun) {
  ASSERT_FALSE(zero_scanners().empty());
  EXPECT_EQ(zero_scanners().back().name, "scalar");
}

TEST(IsZero, HoldsForNoBytes) {
  EXPECT_TRUE(is_zero({}));
  const std::byte one{1};
  EXPECT_TRUE(is_zero({&one, 0}));
  EXPECT_FALSE(is_zero({&one, 1}));
}

// ---- uniform_prefix

struct Prefix {
  std::size_t length;
  bool zero;
  bool operator==(const Prefix&) const = default;
};

Prefix prefix_of(std::span<const std::byte> bytes, std::size_t block) {
  Prefix prefix{};
  prefix.length = uniform_prefix(bytes, block, prefix.zero);
  return prefix;
}

/// What uniform_prefix() promises, byte by byte.
Prefix expected_prefix(std::span<const std::byte> bytes, std::size_t block) {
  auto zero_at = [&](std::size_t at) {
    return std::ranges::all_of(bytes.subspan(at, std::min(block, bytes.size() - at)),
                               [](std::byte byte) { return byte == std::byte{0}; });
  };
  std::size_t at = 0;
  while (at < bytes.size() && zero_at(at) == zero_at(0)) at += std::min(block, bytes.size() - at);
  return {at, zero_at(0)};
}

TEST(UniformPrefix, EndsWhereTheKindOfBlockChanges) {
  std::vector<std::byte> bytes(4096 * 4);
  EXPECT_EQ(prefix_of(bytes, 4096), (Prefix{16384, true}));
  bytes[8192] = kData;
  EXPECT_EQ(prefix_of(bytes, 4096), (Prefix{8192, true}));
  bytes[0] = kData;
  EXPECT_EQ(prefix_of(bytes, 4096), (Prefix{4096, false}));
  bytes[4096 + 4095] = kData;
  EXPECT_EQ(prefix_of(bytes, 4096), (Prefix{12288, false}));
}

TEST(UniformPrefix, TakesAShortLastBlockAsABlock) {
  std::vector<std::byte> bytes(1000);
  EXPECT_EQ(prefix_of(bytes, 512), (Prefix{1000, true}));
  bytes[999] = kData;
  EXPECT_EQ(prefix_of(bytes, 512), (Prefix{512, true}));
  bytes[0] = kData;
  EXPECT_EQ(prefix_of(bytes, 512), (Prefix{1000, false}));
  EXPECT_EQ(prefix_of(bytes, 4096), (Prefix{1000, false}));  // a block larger than all
  EXPECT_EQ(prefix_of(std::span(bytes).first(1), 512), (Prefix{1, false}));
}

TEST(UniformPrefix, AgreesWithTheDefinitionOnRandomBlocks) {
  std::minstd_rand random(7);
  for (int round = 0; round < 2000; ++round) {
    const std::size_t block = 1 + random() % 64;
    std::vector<std::byte> bytes(1 + random() % 700);
    const std::size_t density = random() % 4;
    for (std::byte& byte : bytes) {
      if (density > 0 && random() % (density * 50) == 0) byte = kData;
    }
    ASSERT_EQ(prefix_of(bytes, block), expected_prefix(bytes, block)) << "round " << round;
  }
}

}  // namespace
}  // namespace platter
