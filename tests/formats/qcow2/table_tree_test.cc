#include "formats/qcow2/table_tree.h"

#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "io/run_loop.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;
using Runs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

Header header_with(unsigned cluster_bits, bool extended = false) {
  Header header;
  header.cluster_bits = cluster_bits;
  if (extended) header.incompatible_features = 1U << kExtendedL2Bit;
  return header;
}

Result<Runs> runs_of(const Header& header, const std::vector<std::uint64_t>& words) {
  Bytes table(header.cluster_size());
  for (std::size_t i = 0; i < words.size(); ++i) set_table_word(table, i, words[i]);
  Runs runs;
  const Result<void> done = for_each_run(header, table, [&](ReferredRun run) -> Result<void> {
    runs.emplace_back(run.first, run.count);
    return {};
  });
  if (!done) return fail(done.error().clone());
  return runs;
}

TEST(TableTree, NeighboursAreOneRun) {
  const Header header = header_with(9);
  EXPECT_EQ(runs_of(header, {}).value(), Runs());
  EXPECT_EQ(runs_of(header, {0x1000 | kCopiedFlag, 0x1200, 0x1400 | kZeroFlag, 0, kZeroFlag, 0x1600,
                             0x1a00, 0x1800, 0x1a00})
                .value(),
            (Runs{{8, 3}, {11, 1}, {13, 1}, {12, 2}}));
}

TEST(TableTree, CompressedClustersReferToAllThatTheyTouch) {
  const Header header = header_with(9);
  // In clusters of 512 bytes: the offset takes 61 bits, then one bit for further sectors.
  EXPECT_EQ(
      runs_of(header, {kCompressedFlag | 0x1010, kCompressedFlag | (1ULL << 61) | 0x1010, 0x1400})
          .value(),
      (Runs{{8, 1}, {8, 2}, {10, 1}}));
}

TEST(TableTree, OfExtendedEntriesEachFirstWordCounts) {
  const Header header = header_with(14, /*extended=*/true);
  EXPECT_EQ(runs_of(header, {0x4000, 0x123456789, 0x8000, ~std::uint64_t{0}}).value(),
            (Runs{{1, 2}}));
}

TEST(TableTree, AnEntryThatCantBeIsAnError) {
  EXPECT_EQ(runs_of(header_with(12), {0x1000, 0x1200}).error().kind(), ErrorKind::corrupt_image);
}

TEST(TableTree, EachTableIsThereOnceWithItsWeight) {
  const Header header = header_with(9);
  const std::vector<std::uint64_t> l1{0x800 | kCopiedFlag, 0, 0x400, 0x800, 0x800, 0x200};
  const TableTree tree = TableTree::make(header, l1, "f").value();
  EXPECT_TRUE(std::ranges::equal(tree.tables(), std::vector<std::uint64_t>{0x200, 0x400, 0x800}));
  EXPECT_EQ(tree.weight(0), 1U);
  EXPECT_EQ(tree.weight(2), 3U);
  EXPECT_TRUE(tree.has_duplicates());
  EXPECT_EQ(TableTree::make(header_with(12), l1, "f").error().kind(), ErrorKind::corrupt_image);
}

// Tables of 4 KiB at every other cluster, so that there are many requests in several groups.
TEST(TableTree, TablesAreVisitedOnceAndChangesWrittenBack) {
  constexpr std::uint64_t kTables = 1000;
  const Header header = header_with(12);
  MemoryFile file;
  RunLoop loop;
  std::vector<std::uint64_t> l1;
  for (std::uint64_t i = 0; i < kTables; ++i) {
    l1.push_back((2 * i + 2) * 4096);
    ASSERT_TRUE(loop.run(file.write(l1.back(), Bytes(4096, static_cast<std::byte>(i)))));
  }
  const TableTree tree = TableTree::make(header, l1, "f").value();
  EXPECT_EQ(tree.group_count(), 4U);
  TableMemo memo(4096);
  for (int pass = 0; pass < 3; ++pass) {
    std::set<std::size_t> seen;
    const auto visit = [&](std::size_t table, std::span<std::byte> bytes) -> Result<bool> {
      EXPECT_TRUE(seen.insert(table).second);
      const bool changed_before = pass > 0 && table % 3 == 0;
      EXPECT_EQ(bytes[17], changed_before ? std::byte{0xee} : static_cast<std::byte>(table));
      if (table % 3 == 0) bytes[17] = std::byte{0xee};
      return table % 3 == 0;
    };
    TableTree::Pass how{.memo = pass == 1 ? nullptr : &memo};
    ASSERT_TRUE(loop.run(tree.visit(file, visit, how)));
    EXPECT_EQ(seen.size(), kTables);
    if (pass == 0) EXPECT_FALSE(memo.knows(l1[0])) << "it was changed";
    if (pass == 0) EXPECT_TRUE(memo.knows(l1[1]));
  }
}

TEST(TableTree, OnlyWantedGroupsAreVisitedAndErrorsAndCancellationEndIt) {
  std::vector<std::uint64_t> l1;
  for (std::uint64_t i = 0; i < 1000; ++i) l1.push_back((i + 1) * 4096);
  const TableTree tree = TableTree::make(header_with(12), l1, "f").value();
  MemoryFile file;
  RunLoop loop;
  std::size_t visits = 0;
  const auto count = [&](std::size_t, std::span<std::byte>) -> Result<bool> {
    ++visits;
    return false;
  };
  ASSERT_TRUE(
      loop.run(tree.visit(file, count, {.wanted = [](std::size_t group) { return group == 1; }})));
  EXPECT_EQ(visits, 256U);
  const auto refuse = [](std::size_t, std::span<std::byte>) -> Result<bool> {
    return fail(ErrorKind::corrupt_image, "no");
  };
  EXPECT_EQ(loop.run(tree.visit(file, refuse, {})).error().kind(), ErrorKind::corrupt_image);
  CancelToken cancel;
  cancel.request();
  EXPECT_EQ(loop.run(tree.visit(file, count, {.cancel = &cancel})).error().kind(),
            ErrorKind::cancelled);
}

}  // namespace
}  // namespace platter::qcow2
