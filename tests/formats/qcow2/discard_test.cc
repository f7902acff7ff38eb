// What becomes of clusters that the guest gives up: their places and their space.
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/open.h"
#include "formats/qcow2/qcow2_image.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

class Discarded : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  }
  std::string path(const std::string& name) const { return folder_ / name; }
  void make(const std::string& options, const std::string& size = "4M") {
    const auto made = test::run_command(test::Command{
        .argv = {"qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path("a"), size},
        .folder = folder_.path()});
    ASSERT_TRUE(made.ok()) << made.err;
  }
  Result<std::unique_ptr<Image>> open(bool no_unref) {
    OpenPolicy policy;
    policy.follow_references = true;
    auto opened = ring_->run(open_image(
        path("a"), {.purpose = OpenPurpose::write, .format = "qcow2", .discard_no_unref = no_unref},
        policy));
    if (!opened) return fail(std::move(opened.error()));
    return std::move(opened->image);
  }
  void must(Task<void> task) {
    const Result<void> done = ring_->run(std::move(task));
    ASSERT_TRUE(done) << done.error().message();
  }
  Bytes read(Image& image, std::uint64_t offset, std::uint64_t length) {
    Bytes bytes(length);
    must(image.read(offset, bytes));
    return bytes;
  }
  std::uint64_t place_of(Image& image, std::uint64_t offset) {
    const auto runs = ring_->run(image.map(offset, 1, 1));
    EXPECT_TRUE(runs);
    return runs ? runs->at(0).file_offset : 0;
  }
  std::uint64_t used(const std::string& name) const {
    struct stat status{};
    EXPECT_EQ(::stat(path(name).c_str(), &status), 0);
    return static_cast<std::uint64_t>(status.st_blocks) * 512;
  }
  void expect_clean() {
    const auto checked = test::run_command("qemu-img", "check", path("a"));
    EXPECT_TRUE(checked.ok()) << checked.out << checked.err;
  }

  static Bytes filled(std::uint64_t length, int value) {
    return Bytes(length, static_cast<std::byte>(value));
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  test::TempDir folder_;
};

TEST_F(Discarded, ClustersAreFreeAndTheirSpaceIsGivenBack) {
  make("cluster_size=64k");
  auto image = open(false).value();
  must(image->write(0, filled(2 * kMiB, 1)));
  must(image->flush());
  const std::uint64_t before = used("a");
  must(image->discard(0, kMiB));
  must(image->flush());
  EXPECT_LE(used("a") + kMiB - 64 * kKiB, before);
  EXPECT_EQ(read(*image, 0, kMiB), filled(kMiB, 0));
  must(image->close());
  expect_clean();
}

TEST_F(Discarded, WithNoUnrefPlacesAreKeptAndSpaceIsGivenBack) {
  for (const std::string options : {"cluster_size=64k", "cluster_size=64k,extended_l2=on"}) {
    make(options);
    auto image = open(true).value();
    must(image->write(0, filled(2 * kMiB, 1)));
    must(image->flush());
    const std::uint64_t before = used("a");
    const std::uint64_t discarded = place_of(*image, 0);
    const std::uint64_t zeroed = place_of(*image, kMiB);
    must(image->discard(0, 512 * kKiB));
    must(image->write_zeroes(kMiB, 512 * kKiB, ZeroMode::may_unmap));
    must(image->flush());
    EXPECT_LE(used("a") + kMiB - 64 * kKiB, before) << options;
    EXPECT_EQ(read(*image, 0, 512 * kKiB), filled(512 * kKiB, 0));
    EXPECT_EQ(read(*image, 512 * kKiB, 512 * kKiB), filled(512 * kKiB, 1));
    EXPECT_EQ(read(*image, kMiB, 512 * kKiB), filled(512 * kKiB, 0));
    must(image->write(0, filled(64 * kKiB, 2)));
    must(image->write(kMiB, filled(64 * kKiB, 3)));
    EXPECT_EQ(place_of(*image, 0), discarded) << options;
    EXPECT_EQ(place_of(*image, kMiB), zeroed) << options;
    must(image->close());
    expect_clean();
  }
}

TEST_F(Discarded, WithNoUnrefWhatASnapshotHoldsToo) {
  make("cluster_size=64k");
  {
    auto image = open(false).value();
    must(image->write(0, filled(kMiB, 1)));
    must(image->close());
  }
  ASSERT_TRUE(test::run_command("qemu-img", "snapshot", "-c", "one", path("a")).ok());
  auto image = open(true).value();
  must(image->discard(0, kMiB));
  EXPECT_EQ(read(*image, 0, kMiB), filled(kMiB, 0));
  must(image->write(0, filled(4 * kKiB, 2)));
  EXPECT_EQ(read(*image, 4 * kKiB, 60 * kKiB), filled(60 * kKiB, 0));
  must(image->close());
  expect_clean();
  ASSERT_TRUE(test::run_command("qemu-img", "snapshot", "-a", "one", path("a")).ok());
  image = open(true).value();
  EXPECT_EQ(read(*image, 0, kMiB), filled(kMiB, 1));
  must(image->close());
}

TEST_F(Discarded, NoUnrefNeedsVersion3) {
  make("compat=0.10");
  const auto image = open(true);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().kind(), ErrorKind::unsupported);
}

TEST_F(Discarded, WhatIsInADataFileGoesBackToTheFilesystem) {
  make("data_file=" + path("data"));
  auto image = open(false).value();
  must(image->write(0, filled(2 * kMiB, 1)));
  must(image->flush());
  const std::uint64_t before = used("data");
  must(image->discard(0, 512 * kKiB));
  must(image->write_zeroes(kMiB, 512 * kKiB, ZeroMode::may_unmap));
  must(image->flush());
  EXPECT_LE(used("data") + kMiB, before);
  EXPECT_EQ(read(*image, 0, 512 * kKiB), filled(512 * kKiB, 0));
  EXPECT_EQ(read(*image, 512 * kKiB, 512 * kKiB), filled(512 * kKiB, 1));
  must(image->close());
  expect_clean();
}

}  // namespace
}  // namespace platter::qcow2
