#include "formats/inspect/bounded_reader.h"

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "io/run_loop.h"

namespace platter::inspect {
namespace {

constexpr std::byte kData[] = {std::byte{1}, std::byte{2}, std::byte{3}};

TEST(Bytes, IntegersAreReadInBothOrders) {
  const Bytes bytes(kData);
  EXPECT_EQ(bytes.be16(0), 0x0102);
  EXPECT_EQ(bytes.le16(0), 0x0201);
  EXPECT_EQ(bytes.be16(1), 0x0203);
}

TEST(Bytes, WhatLiesPastTheEndIsZero) {
  const Bytes bytes(kData);
  EXPECT_EQ(bytes.be32(1), 0x02030000);
  EXPECT_EQ(bytes.le32(1), 0x0302);
  EXPECT_EQ(bytes.le64(~0ULL), 0);
  EXPECT_EQ(bytes.be64(~0ULL - 3), 0);
  EXPECT_EQ(bytes.from(2, 10).size(), 1);
  EXPECT_EQ(bytes.from(3).size(), 0);
  EXPECT_EQ(bytes.from(~0ULL, ~0ULL).size(), 0);
  EXPECT_FALSE(bytes.has(2, "\3\4"));
}

TEST(BoundedReader, StopsWhereItsBudgetEnds) {
  RunLoop loop;
  auto work = []() -> Task<void> {
    MemoryFile file("file", 1 << 20);
    BoundedReader reader(file, 200 * 1024, nullptr);
    co_await reader.start();
    EXPECT_EQ(reader.head().size(), BoundedReader::kHeadSize);
    EXPECT_EQ((co_await reader.read(0, 70 * 1024)).size(), 70 * 1024);
    EXPECT_FALSE(reader.exhausted());
    EXPECT_EQ((co_await reader.read(0, 10 * 1024)).size(), 2 * 1024);
    EXPECT_TRUE(reader.exhausted());
    EXPECT_EQ((co_await reader.read(2 << 20, 1)).size(), 0);
    EXPECT_EQ(reader.bytes_read(), 200 * 1024);
  };
  EXPECT_TRUE(loop.run(work()));
}

}  // namespace
}  // namespace platter::inspect
