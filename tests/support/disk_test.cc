#include "tests/support/disk.h"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

TEST(Disk, CopiesDoNotSeeEachOthersChanges) {
  Disk one(10'000);
  one.write(100, random_bytes(5000, 1));
  const std::vector<std::byte> before = one.bytes();
  Disk two = one;
  two.write(0, random_bytes(200, 2));
  one.zero(4000, 1000);
  Disk three = two;
  three.resize(50);
  EXPECT_NE(one.bytes(), before);
  EXPECT_EQ(two.size(), 10'000U);
  const std::vector<std::byte> after = two.bytes();
  EXPECT_TRUE(std::ranges::equal(std::span(after).subspan(200), std::span(before).subspan(200)));
  EXPECT_EQ(three.size(), 50U);
}

TEST(Disk, WhatIsCutOffReadsAsZeroesLater) {
  for (const bool folded : {false, true}) {
    Disk disk;
    disk.write(0, random_bytes(10'000, 1));
    if (folded) disk.fold();
    disk.resize(4100);
    disk.resize(10'000);
    const auto bytes = disk.bytes();
    EXPECT_TRUE(std::ranges::all_of(std::span(bytes).subspan(4100),
                                    [](std::byte byte) { return byte == std::byte{0}; }));
    EXPECT_EQ(disk.extents(0, 10'000, 9),
              (std::vector<Extent>{{0, 8192, true}, {8192, 10'000 - 8192, false}}));
  }
}

TEST(Disk, ZeroesOverExbibytesTakeNoTime) {
  Disk disk(kMaxFileSize);
  disk.write(kTiB, random_bytes(100, 1));
  disk.fold();
  disk.zero(1, kMaxFileSize - 1);
  EXPECT_EQ(disk.extents(0, kMaxFileSize, 9), (std::vector<Extent>{{0, kMaxFileSize, false}}));
}

TEST(Disk, FoldingChangesNothing) {
  std::mt19937_64 random(1);
  Disk folded(100'000);
  Disk plain(100'000);
  for (int i = 0; i < 300; ++i) {
    const std::uint64_t offset = random() % 99'000;
    const std::uint64_t length = random() % 10'000;
    for (Disk* disk : {&folded, &plain}) {
      switch (i % 3) {
        case 0: disk->write(offset, random_bytes(length, offset)); break;
        case 1: disk->zero(offset, length); break;
        default: disk->resize(std::max<std::uint64_t>(offset, 50'000)); break;
      }
    }
    if (i % 7 == 0) folded.fold();
    const Disk copy = folded;
    ASSERT_EQ(copy.bytes(), plain.bytes());
    ASSERT_EQ(copy.extents(0, copy.size(), 100), plain.extents(0, plain.size(), 100));
  }
}

}  // namespace
}  // namespace platter::test
