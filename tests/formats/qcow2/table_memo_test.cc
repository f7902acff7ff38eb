#include "formats/qcow2/table_memo.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;
constexpr std::uint64_t kCluster = 64 * kKiB;

TEST(TableMemo, ARegularTableIsKnownAgain) {
  std::mt19937_64 random(7);
  TableMemo memo(kCluster);
  std::vector<Bytes> tables;
  for (std::uint64_t n = 0; n < 200; ++n) {
    Bytes table(kCluster);
    const std::size_t words = kCluster / 8;
    std::uint64_t word = 0;
    std::uint64_t step = 0;
    for (std::size_t i = 0; i < words; ++i) {
      if (random() % 1000 == 0) word = random();
      if (random() % 1000 == 0) step = random() % 2 * kCluster;
      set_table_word(table, i, word += step);
    }
    memo.remember(n * kCluster, table);
    tables.push_back(std::move(table));
  }
  std::size_t known = 0;
  for (std::uint64_t n = 0; n < tables.size(); ++n) {
    if (!memo.knows(n * kCluster)) continue;
    ++known;
    Bytes recalled(kCluster);
    memo.recall(n * kCluster, recalled);
    EXPECT_EQ(recalled, tables[n]) << n;
  }
  EXPECT_GT(known, 100U);
}

TEST(TableMemo, AnIrregularTableIsNotKept) {
  TableMemo memo(kCluster);
  Bytes table(kCluster);
  for (std::size_t i = 0; i < kCluster / 8; ++i) set_table_word(table, i, i * i);
  memo.remember(0, table);
  EXPECT_FALSE(memo.knows(0));
  // And takes no room from others.
  for (std::uint64_t n = 0; n < 1'000'000 && !memo.knows(0); n += 100'000) memo.remember(n, table);
  memo.remember(kCluster, Bytes(kCluster));
  EXPECT_TRUE(memo.knows(kCluster));
}

TEST(TableMemo, WhatChangedIsForgotten) {
  TableMemo memo(512);
  memo.remember(0, Bytes(512));
  memo.forget(0);
  EXPECT_FALSE(memo.knows(0));
  Bytes irregular(512);
  for (std::size_t i = 0; i < 64; ++i) set_table_word(irregular, i, i * i);
  memo.remember(512, Bytes(512));
  memo.remember(512, irregular);
  EXPECT_FALSE(memo.knows(512));
}

TEST(TableMemo, MemoryIsBounded) {
  TableMemo memo(512);
  Bytes table(512);
  for (std::size_t i = 0; i < 64; ++i) set_table_word(table, i, i / 2 * 7);
  for (std::uint64_t n = 0; n < 20'000; ++n) memo.remember(n * 512, table);
  EXPECT_TRUE(memo.knows(0));
  EXPECT_FALSE(memo.knows(19'999 * 512));
}

}  // namespace
}  // namespace platter::qcow2
