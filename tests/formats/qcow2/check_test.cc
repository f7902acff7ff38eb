#include "formats/qcow2/check.h"

#include <string>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/run_loop.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/formats/qcow2/tiny_image.h"

namespace platter::qcow2 {
namespace {

using test::Checked;
using test::TinyImage;

Checked check(MemoryFile& file, Repair repair = Repair::none) {
  RunLoop loop;
  Result<Checked> checked = loop.run(test::check_file(file, repair));
  EXPECT_TRUE(checked) << checked.error().message();
  return checked ? *std::move(checked) : Checked{};
}

Header header_of(MemoryFile& file) {
  RunLoop loop;
  return *loop.run(read_header_for_check(file));
}

void fill(MemoryFile& file, const TinyImage& image) {
  RunLoop loop;
  ASSERT_TRUE(loop.run(file.write(0, image.bytes)));
}

Checked check(const TinyImage& image, Repair repair = Repair::none) {
  MemoryFile file("tiny");
  fill(file, image);
  return check(file, repair);
}

TEST(Qcow2Check, ASoundImageIsSoundAtEveryRefcountWidth) {
  for (unsigned order = 0; order <= kRefcountOrderMax; ++order) {
    for (const bool snapshot : {false, true}) {
      if (order == 0 && snapshot) continue;
      const Checked checked = check(TinyImage(order, 40, snapshot));
      EXPECT_TRUE(checked.clean()) << "order " << order;
      EXPECT_TRUE(checked.messages.empty());
      EXPECT_EQ(checked.report.total_clusters, 256U);
      EXPECT_EQ(checked.report.allocated_clusters, 40U);
    }
  }
}

TEST(Qcow2Check, ALeakIsToldAndGivenUp) {
  TinyImage image(4, 10, true);
  const std::uint64_t cluster = image.add_leak();
  MemoryFile file("tiny");
  fill(file, image);
  const Checked before = check(file);
  EXPECT_EQ(before.report.leaks, 1U);
  EXPECT_EQ(before.messages.at(0),
            "Leaked cluster " + std::to_string(cluster) + " refcount=1 reference=0");
  EXPECT_EQ(check(file, Repair::leaks).report.leaks_fixed, 1U);
  EXPECT_TRUE(check(file).clean());
}

TEST(Qcow2Check, LeaksAloneAreNotTheTimeToRaiseCounts) {
  TinyImage image(4, 10, true);
  image.set_refcount(image.data_cluster(3), 1);
  MemoryFile file("tiny");
  fill(file, image);
  EXPECT_GT(check(file, Repair::leaks).report.corruptions, 0U);
  EXPECT_GT(check(file, Repair::all).report.corruptions_fixed, 0U);
  EXPECT_TRUE(check(file).clean());
}

TEST(Qcow2Check, DestroyedRefcountsAreMadeAnew) {
  for (unsigned order = 0; order <= kRefcountOrderMax; ++order) {
    TinyImage image(order, 60, order != 0);
    for (std::uint64_t i = 0; i < TinyImage::kCluster; i += 8)
      image.put(image.table_offset() + i, 0);
    MemoryFile file("tiny");
    fill(file, image);
    EXPECT_GT(check(file).report.corruptions, 60U);
    const Checked repaired = check(file, Repair::all);
    EXPECT_TRUE(repaired.said("Rebuilding refcount structure"));
    EXPECT_TRUE(check(file).clean()) << "order " << order;
  }
}

TEST(Qcow2Check, NewRefcountsKeepOffPlacesPastTheEndThatAreReferredTo) {
  TinyImage image(4, 20, false);
  const std::uint64_t end = image.clusters();
  // Three clusters of a file that was cut: they read as zeroes.
  for (std::uint64_t i = 0; i < 3; ++i) {
    image.put(image.l2_at(30 + i), (end + i) * TinyImage::kCluster | TinyImage::kCopied);
  }
  image.put(image.table_offset(), 0);
  MemoryFile file("tiny");
  fill(file, image);
  check(file, Repair::all);
  std::vector<std::byte> bytes(3 * TinyImage::kCluster);
  RunLoop loop;
  ASSERT_TRUE(loop.run(file.read(end * TinyImage::kCluster, bytes)));
  for (const std::byte byte : bytes) ASSERT_EQ(byte, std::byte{0});
}

TEST(Qcow2Check, TheDirtyAndTheCorruptBitGoOnceAllIsWell) {
  TinyImage image(4, 20, false);
  image.put(72, 3);
  MemoryFile file("tiny");
  fill(file, image);
  check(file);
  EXPECT_EQ(header_of(file).incompatible_features, 3U);
  check(file, Repair::leaks);
  EXPECT_EQ(header_of(file).incompatible_features, 0U);
}

TEST(Qcow2Check, UnknownAutoclearBitsGoWithAnyRepair) {
  TinyImage image(4, 20, false);
  image.put(88, std::uint64_t{1} << 20);
  MemoryFile file("tiny");
  fill(file, image);
  check(file, Repair::leaks);
  EXPECT_EQ(header_of(file).autoclear_features, 0U);
}

TEST(Qcow2Check, ASnapshotEntryTooShortForVersion3IsMadeWhole) {
  TinyImage image(4, 20, true);
  const std::uint64_t entry = image.snapshots_offset();
  image.put32(entry + 36, 0);
  std::memcpy(image.bytes.data() + entry + 40, "1one", 4);
  MemoryFile file("tiny");
  fill(file, image);
  EXPECT_EQ(check(file).report.corruptions, 1U);
  EXPECT_EQ(check(file, Repair::all).report.corruptions_fixed, 1U);
  EXPECT_TRUE(check(file).clean());
}

// Hostile images: what they claim costs neither time nor memory.

TEST(Qcow2Check, AnL1TableThatNamesOneTableAMillionTimesIsReadOnce) {
  TinyImage image(4, 60, false);
  const std::uint64_t l1 = image.bytes.size();
  const std::uint32_t entries = 1 << 20;
  image.bytes.resize(l1 + entries * 8);
  for (std::uint64_t i = 0; i < entries; ++i) image.put(l1 + 8 * i, image.get(image.l1_at(0)));
  image.put32(36, entries);
  image.put(40, l1);
  const Checked checked = check(image);
  EXPECT_EQ(checked.report.allocated_clusters, 60U * entries);
  EXPECT_GT(checked.report.corruptions, 0U);
}

TEST(Qcow2Check, SixtyFiveThousandSnapshotsOfOneL1TableAreOne) {
  TinyImage image(6, 60, false);
  const std::uint64_t l1 = image.bytes.size();
  image.bytes.resize(l1 + 64 * kKiB);
  for (std::uint64_t i = 0; i < 8192; ++i) image.put(l1 + 8 * i, image.get(image.l1_at(0)));
  const std::uint64_t table = image.bytes.size();
  const std::uint32_t count = 65536;
  image.bytes.resize(table + std::uint64_t{count} * 56);
  for (std::uint64_t i = 0; i < count; ++i) {
    image.put(table + 56 * i, l1);
    image.put32(table + 56 * i + 8, 8192);
    image.put32(table + 56 * i + 36, 16);
  }
  image.put32(60, count);
  image.put(64, table);
  const Checked checked = check(image);
  // Every entry of every snapshot counts: 2^29 references to each of the 60 clusters.
  EXPECT_TRUE(checked.said("refcount=1 reference=536870913"));
}

TEST(Qcow2Check, SnapshotTablesThatOverlapAndEndPastTheFileAreRepairedInBoundedTime) {
  TinyImage image(4, 60, false);
  const std::uint64_t table = image.bytes.size();
  const std::uint32_t count = 65536;
  image.bytes.resize(table + std::uint64_t{count} * 56);
  for (std::uint64_t i = 0; i < count; ++i) {
    image.put(table + 56 * i, (table / 512 + i % 4096) * 512);
    image.put32(table + 56 * i + 8, (32 << 20) / 8 - static_cast<std::uint32_t>(i));
    image.put32(table + 56 * i + 36, 16);
  }
  image.put32(60, count);
  image.put(64, table);
  EXPECT_GT(check(image, Repair::all).report.corruptions, 0U);
}

TEST(Qcow2Check, TablesThatAreClaimedButNotThereTakeNoMemory) {
  TinyImage image(4, 5, false);
  image.put32(36, (32 << 20) / 8);                   // an L1 table of 32 MiB
  image.put32(56, (8 << 20) / TinyImage::kCluster);  // a refcount table of 8 MiB
  const Checked checked = check(image);
  EXPECT_GT(checked.report.corruptions, 0U);
}

TEST(Qcow2Check, FaultsWithoutEndAreCountedButNotAllTold) {
  TinyImage image(4, 60, false);
  const std::uint64_t l1 = image.bytes.size();
  const std::uint32_t entries = 1 << 18;
  image.bytes.resize(l1 + entries * 8);
  for (std::uint64_t i = 0; i < 60; ++i) image.put(image.l2_at(i), 0x3f00000000000000 | i << 20);
  for (std::uint64_t i = 0; i < entries; ++i) image.put(l1 + 8 * i, image.get(image.l1_at(0)));
  image.put32(36, entries);
  image.put(40, l1);
  const Checked checked = check(image);
  EXPECT_GT(checked.report.corruptions, 60U * entries);
  EXPECT_GT(checked.report.messages_left_out, 0U);
  EXPECT_LE(checked.messages.size(), 1'000'000U);
}

TEST(Qcow2Check, MoreClustersThanQemuCountsAreRefused) {
  TinyImage image(4, 5, false);
  MemoryFile file("tiny", std::uint64_t{1} << 60);
  fill(file, image);
  RunLoop loop;
  const auto checked = loop.run(test::check_file(file));
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().kind(), ErrorKind::too_large);
}

TEST(Qcow2Check, ASparseFileIsCheckedForWhatItHolds) {
  TinyImage image(4, 5, false);
  MemoryFile file("tiny", std::uint64_t{64} << 30);
  fill(file, image);
  EXPECT_TRUE(check(file).clean());
}

}  // namespace
}  // namespace platter::qcow2
