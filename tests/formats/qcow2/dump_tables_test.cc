#include "formats/qcow2/dump_tables.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/dump_header.h"
#include "formats/qcow2/owners.h"
#include "io/memory_file.h"
#include "io/run_loop.h"
#include "tests/formats/qcow2/tiny_image.h"

namespace platter::qcow2::test {
namespace {

constexpr std::uint64_t kCluster = TinyImage::kCluster;

/// An image in memory, and what a look at it tells.
class DumpTables : public testing::Test {
 protected:
  template <class Row, class Look>
  std::vector<Row> rows(const TinyImage& image, Look look) {
    std::vector<Row> found;
    auto work = [&]() -> Task<void> {
      MemoryFile file("image");
      co_await file.write(0, image.bytes);
      const RawHeader raw = co_await read_raw_header(file);
      const DumpSource source{
          .header = raw.geometry.value(), .file = file, .file_size = raw.file_size};
      auto keep = [&found](const Row& row) {
        found.push_back(row);
        return true;
      };
      co_await look(source, keep);
    };
    RunLoop loop;
    const Result<void> done = loop.run(work());
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
    return found;
  }
  std::vector<L1Row> l1(const TinyImage& image, DumpRange range = {}) {
    return rows<L1Row>(image, [range](const DumpSource& source, auto keep) {
      return dump_l1(source, range, keep);
    });
  }
  std::vector<L2Row> l2(const TinyImage& image, DumpRange range = {}) {
    return rows<L2Row>(image, [range](const DumpSource& source, auto keep) {
      return dump_l2(source, range, keep);
    });
  }
  std::vector<RefcountRow> counts(const TinyImage& image, DumpRange range = {}) {
    return rows<RefcountRow>(image, [range](const DumpSource& source, auto keep) {
      return dump_refcounts(source, range, keep);
    });
  }
  std::vector<std::string> owners(const TinyImage& image, std::uint64_t at) {
    const auto found = rows<Owner>(image, [at](const DumpSource& source, auto keep) -> Task<void> {
      (void)co_await find_owners(source, at, keep);
    });
    std::vector<std::string> kinds;
    for (const Owner& owner : found) kinds.push_back(std::string(owner.kind) + owner.name);
    return kinds;
  }
};

using Kinds = std::vector<std::string>;

TEST_F(DumpTables, L1EntriesThatAreSetAreTold) {
  const auto found = l1(TinyImage(4, 3, false));
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].index, 0U);
  EXPECT_TRUE(found[0].entry.copied());
  EXPECT_TRUE(found[0].problems.empty());
}

TEST_F(DumpTables, FaultsOfL1EntriesAreTold) {
  TinyImage image(4, 3, false);
  image.put(image.l1_at(1), (1ULL << 40) + 512);
  image.put(image.l1_at(2), image.get(image.l1_at(0)) | 1);
  const auto found = l1(image);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[1].problems, Problems{"the L2 table lies past the end of the file"});
  EXPECT_EQ(found[2].problems, Problems{"reserved bits are set"});
  EXPECT_EQ(l1(image, {.begin = found[1].guest_offset, .end = found[1].guest_offset + 1}).size(),
            1U);
}

TEST_F(DumpTables, EveryGuestByteIsInOneL2Row) {
  TinyImage image(4, 3, false);
  image.put(image.l1_at(2), 1ULL << 40);
  std::uint64_t at = 0;
  for (const L2Row& row : l2(image)) {
    EXPECT_EQ(row.guest_offset, at);
    at += row.length;
  }
  EXPECT_EQ(at, TinyImage::kSize);
  const auto part = l2(image, {.begin = kCluster + 1, .end = 2 * kCluster + 1});
  ASSERT_EQ(part.size(), 2U);
  EXPECT_EQ(part[0].guest_offset, kCluster);
  EXPECT_EQ(part[0].host_offset, image.data_cluster(1) * kCluster);
  EXPECT_EQ(part[1].type, ClusterType::normal);
}

TEST_F(DumpTables, FaultsOfL2EntriesAreTold) {
  TinyImage image(4, 4, false);
  image.put(image.l2_at(0), TinyImage::kCopied | (1ULL << 40));
  image.put(image.l2_at(1), image.get(image.l2_at(1)) | 6);
  image.put(image.l2_at(2), kCompressedFlag | TinyImage::kCopied | 700);
  const auto found = l2(image, {.begin = 0, .end = 4 * kCluster});
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].problems, Problems{"the data lies past the end of the file"});
  EXPECT_EQ(found[1].problems, Problems{"reserved bits are set"});
  EXPECT_EQ(found[2].problems, Problems{"a compressed cluster with the COPIED flag"});
  EXPECT_EQ(found[2].host_offset, 700U);
  EXPECT_TRUE(found[3].problems.empty());
}

TEST_F(DumpTables, CountsOfEveryWidthAreTold) {
  for (unsigned order = 1; order <= 6; ++order) {
    const TinyImage image(order, 3, /*snapshot=*/true);
    std::uint64_t clusters = 0;
    std::uint64_t shared = 0;
    for (const RefcountRow& row : counts(image)) {
      EXPECT_EQ(row.host_offset, clusters * kCluster);
      clusters += row.clusters;
      if (row.refcount == 2) shared += row.clusters;
      EXPECT_NE(row.refcount, 0U);
    }
    EXPECT_EQ(clusters, image.clusters()) << order;
    EXPECT_EQ(shared, 4U) << order;  // the L2 table and three clusters
  }
}

TEST_F(DumpTables, CountsThatCanNotBeReadAreNone) {
  TinyImage image(4, 3, false);
  image.put(image.table_offset(), 1ULL << 40);
  const auto found = counts(image, {.begin = 0, .end = kCluster});
  ASSERT_EQ(found.size(), 1U);
  EXPECT_FALSE(found[0].refcount);
}

TEST_F(DumpTables, RangesAtTheEndOfAllNumbersDoNoHarm) {
  TinyImage image(4, 3, false);
  const std::uint64_t last = ~std::uint64_t{0};
  EXPECT_TRUE(l1(image, {.begin = last, .end = last}).empty());
  EXPECT_TRUE(l2(image, {.begin = last, .end = last}).empty());
  EXPECT_TRUE(l2(image, {.begin = 0, .end = 0}).empty());
  image.put32(36, ~0U);       // entries of the L1 table
  image.put(24, last >> 1);   // the size
  image.put(40, last - 511);  // where the L1 table is
  EXPECT_EQ(l2(image).size(), 1U);
  EXPECT_TRUE(l1(image).empty());
}

TEST_F(DumpTables, EachKindOfOwnerIsFound) {
  const TinyImage image(4, 3, /*snapshot=*/true);
  EXPECT_EQ(owners(image, 0), Kinds{"header"});
  EXPECT_EQ(owners(image, image.table_offset() + 17), Kinds{"refcount-table"});
  EXPECT_EQ(owners(image, image.get(image.table_offset())), Kinds{"refcount-block"});
  EXPECT_EQ(owners(image, image.l1_at(0)), Kinds{"l1-table"});
  EXPECT_EQ(owners(image, image.l2_at(5)), (Kinds{"l2-table", "l2-tableone"}));
  EXPECT_EQ(owners(image, image.data_cluster(1) * kCluster), (Kinds{"data", "dataone"}));
  EXPECT_EQ(owners(image, image.snapshots_offset()), Kinds{"snapshot-table"});
  EXPECT_EQ(owners(image, image.snapshots_offset() - kCluster), Kinds{"l1-tableone"});
  EXPECT_EQ(owners(image, image.bytes.size()), Kinds{});
}

TEST_F(DumpTables, CompressedDataOwnsEachClusterItTouches) {
  TinyImage image(4, 3, false);
  // Two sectors from the middle of a cluster on.
  const std::uint64_t at = image.data_cluster(0) * kCluster + 100;
  image.put(image.l2_at(9), kCompressedFlag | (std::uint64_t{1} << (62 - 1)) | at);
  const auto first = owners(image, at);
  const auto second = owners(image, at + kCluster);
  EXPECT_EQ(first, (Kinds{"data", "compressed"}));
  EXPECT_EQ(second, (Kinds{"data", "compressed"}));
}

}  // namespace
}  // namespace platter::qcow2::test
