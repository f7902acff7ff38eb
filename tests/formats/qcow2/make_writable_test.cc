// What an image goes through when it is opened for writing, and when writing finds it damaged.
#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/format.h"
#include "formats/qcow2/header_sector.h"
#include "formats/qcow2/qcow2_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "io/run_loop.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/support/disk_files.h"
#include "tests/support/run_command.h"
#include "tests/support/shared_file.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

class MadeWritable : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  }

  // An image of qemu-img's in memory.
  void load(const std::string& path) {
    const test::Disk disk = test::read_disk(path);
    ASSERT_TRUE(ring_->run(file_.truncate(disk.size())));
    const Bytes bytes = disk.bytes();
    ASSERT_TRUE(ring_->run(file_.write(0, bytes)));
  }

  std::string path(const std::string& name) const { return folder_ / name; }

  Result<std::unique_ptr<Qcow2Image>> open() {
    return ring_->run(open_on(std::make_unique<test::SharedFile>(file_), nullptr, {}, true));
  }

  Header header() { return ring_->run(read_header(file_)).value(); }

  Bytes sector(std::uint64_t offset) {
    Bytes bytes(kSectorSize);
    EXPECT_TRUE(ring_->run(file_.read(offset, bytes)));
    return bytes;
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  test::TempDir folder_;
  MemoryFile file_{"file"};
};

TEST_F(MadeWritable, AnImageThatWasLeftDirtyIsRepairedAndKeepsItsData) {
  const std::string name = path("a");
  ASSERT_TRUE(test::run_command("qemu-img", "create", "-q", "-f", "qcow2", "-o",
                                "lazy_refcounts=on,compat=1.1", name, "1M")
                  .ok());
  ASSERT_FALSE(test::run_command("qemu-io", "-c", "write -P 7 0 192k", "-c", "abort", name).ok());
  load(name);
  ASSERT_TRUE(header().incompatible(kDirtyBit));
  {
    auto image = open();
    ASSERT_TRUE(image) << image.error().message();
    EXPECT_FALSE(header().incompatible(kDirtyBit));
    Bytes seen(192 * kKiB);
    ASSERT_TRUE(ring_->run((*image)->read(0, seen)));
    EXPECT_EQ(std::ranges::count(seen, std::byte{7}), std::ssize(seen));
    const Bytes more(64 * kKiB, std::byte{9});
    ASSERT_TRUE(ring_->run((*image)->write(512 * kKiB, more)));
    ASSERT_TRUE(ring_->run((*image)->close()));
  }
  auto image = open();
  ASSERT_TRUE(image) << image.error().message();
  Bytes seen(192 * kKiB);
  ASSERT_TRUE(ring_->run((*image)->read(0, seen)));
  EXPECT_EQ(std::ranges::count(seen, std::byte{7}), std::ssize(seen));
  ASSERT_TRUE(ring_->run((*image)->close()));
}

TEST_F(MadeWritable, OneThatIsMarkedAsCorruptIsRefused) {
  const std::string name = path("a");
  ASSERT_TRUE(test::run_command("qemu-img", "create", "-q", "-f", "qcow2", name, "1M").ok());
  load(name);
  ASSERT_TRUE(ring_->run(change_header(file_, [](DiskHeader& disk) {
    disk.incompatible_features = std::uint64_t{1} << kCorruptBit;
  })));
  const Bytes before = sector(0);
  const auto image = open();
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().kind(), ErrorKind::corrupt_image);
  EXPECT_EQ(sector(0), before);
}

// The tail of the last cluster, which growing clears, is said to be in the refcount table. Meanwhile
// the L1 table has another place in memory that is not on disk yet.
TEST_F(MadeWritable, TheCorruptBitIsSetAloneInAHeaderThatIsAsBefore) {
  const std::string name = path("a");
  ASSERT_TRUE(test::run_command("qemu-img", "create", "-q", "-f", "qcow2", "-o",
                                "cluster_size=1024", name, "66048")
                  .ok());
  ASSERT_TRUE(test::run_command("qemu-io", "-c", "write -P 7 0 66048", name).ok());
  load(name);
  const Header before = header();
  be64 table;
  ASSERT_TRUE(
      ring_->run(file_.read(before.l1_table_offset, std::as_writable_bytes(std::span(&table, 1)))));
  const std::uint64_t entry_at = L1Entry(table).offset() + 64 * sizeof(std::uint64_t);
  const be64 entry = before.refcount_table_offset | kCopiedFlag;
  ASSERT_TRUE(ring_->run(file_.write(entry_at, std::as_bytes(std::span(&entry, 1)))));
  const Bytes sector_before = sector(0);
  auto image = open();
  ASSERT_TRUE(image) << image.error().message();
  const Result<void> grown = ring_->run((*image)->resize(64 * kMiB, {}));
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error().kind(), ErrorKind::corrupt_image);
  EXPECT_NE(grown.error().message().find("refcount table"), std::string::npos)
      << grown.error().message();
  Bytes expected = sector_before;
  expected[offsetof(DiskHeader, incompatible_features) + 7] |= std::byte{1 << kCorruptBit};
  EXPECT_EQ(sector(0), expected);
  (void)ring_->run((*image)->close());  // failed for good, and said so
}

}  // namespace
}  // namespace platter::qcow2
