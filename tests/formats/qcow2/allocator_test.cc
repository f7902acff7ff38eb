// How an image's file grows while clusters are taken: ahead, in space that is reserved.
#include "formats/qcow2/allocator.h"

#include <cerrno>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/formats/qcow2/snapshot_tools.h"
#include "tests/support/faulty_file.h"

namespace platter::qcow2 {
namespace {

using platter::test::Fault;
using platter::test::FaultPlan;
using platter::test::FaultyFile;
using platter::test::FileOperation;
using test::SnapshotRig;

constexpr std::uint64_t kPiece = 256 * kKiB;
constexpr std::uint64_t kWritten = 40 * kMiB;
constexpr std::uint64_t kMetadataMax = 1 * kMiB;

class Disk final : public platter::test::SharedFile {
 public:
  Disk(File& file, std::optional<std::uint64_t> left) : SharedFile(file), left_(left) {}
  Task<std::optional<std::uint64_t>> space_left() override { co_return left_; }

 private:
  std::optional<std::uint64_t> left_;
};

class Reserved : public testing::Test {
 protected:
  void SetUp() override {
    CreateOptions options;
    options.size = 64 * kMiB;
    rig_.create(options);
  }
  // All pieces, one after the other; the file is looked at before it is closed.
  void write(FaultPlan& plan, std::uint64_t length,
             std::optional<std::uint64_t> left = std::uint64_t{1} << 40) {
    auto shared = std::make_unique<Disk>(rig_.file(), left);
    auto image =
        rig_.run(SnapshotRig::open(std::make_unique<FaultyFile>(std::move(shared), plan), true));
    ASSERT_TRUE(image) << image.error().message();
    for (std::uint64_t at = 0; at < length; at += kPiece) rig_.write(**image, at, kPiece);
    open_size_ = rig_.file().live().size();
    rig_.must((*image)->close(), "close");
  }
  std::uint64_t size() { return rig_.file().live().size(); }

  SnapshotRig rig_;
  std::uint64_t open_size_ = 0;
};

TEST_F(Reserved, SeldomAndNotMuchMoreThanWasTaken) {
  FaultPlan plan;
  write(plan, kWritten);
  EXPECT_GE(plan.count(FileOperation::allocate), 3U);
  EXPECT_LE(plan.count(FileOperation::allocate), 10U);
  EXPECT_LE(plan.count(FileOperation::truncate), 3U);
  EXPECT_GT(open_size_, kWritten + kMetadataMax);
  EXPECT_LE(size(), kWritten + kMetadataMax) << "what was not used is cut off";
  EXPECT_TRUE(rig_.look() == rig_.model());
  rig_.expect_clean();
}

TEST_F(Reserved, NothingForAFewClusters) {
  FaultPlan plan;
  write(plan, 2 * kPiece);
  EXPECT_EQ(plan.count(FileOperation::allocate), 0U);
}

TEST_F(Reserved, NothingWhereLittleIsLeft) {
  for (const std::optional<std::uint64_t> left : {std::optional(7 * kMiB), {}}) {
    SetUp();
    FaultPlan plan;
    write(plan, kWritten, left);
    EXPECT_EQ(plan.count(FileOperation::allocate), 0U);
    EXPECT_LE(size(), kWritten + kMetadataMax);
  }
}

TEST_F(Reserved, APartOfWhatIsLeft) {
  FaultPlan plan;
  write(plan, kWritten, 32 * kMiB);
  EXPECT_GE(plan.count(FileOperation::allocate), kWritten / (4 * kMiB) - 2) << "an eighth at once";
}

TEST_F(Reserved, WhatAFullDiskRefusesIsNotMissed) {
  for (const Fault& fault : {Fault::fails(ENOSPC), Fault::fails(EOPNOTSUPP), Fault::fails_late()}) {
    SetUp();
    FaultPlan plan;
    plan.at(FileOperation::allocate, 0, fault);
    write(plan, kWritten);
    EXPECT_EQ(plan.faults(), 1U);
    EXPECT_EQ(plan.count(FileOperation::allocate), 1U) << "and not asked again";
    EXPECT_LE(size(), kWritten + kMetadataMax);
    EXPECT_TRUE(rig_.look() == rig_.model());
    rig_.expect_clean();
  }
}

}  // namespace
}  // namespace platter::qcow2
