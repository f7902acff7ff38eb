// An image that gives up all that it holds, and one that gets another backing file.
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/snapshot_tools.h"
#include "tests/support/random_ops.h"

namespace platter::qcow2 {
namespace {

using test::Bytes;
using test::SnapshotRig;
using test::SnapshotSet;

class MakeEmpty : public testing::TestWithParam<SnapshotSet> {
 protected:
  // Half as long as the disk: behind that, nothing shows.
  Bytes make(bool backed) {
    CreateOptions options = GetParam().options;
    if (backed) {
      options.preallocation = Preallocation::off;  // not over a backing file
      options.backing_file = "backing";
      options.backing_format = "raw";
      rig_.set_backing(platter::test::random_bytes(options.size / 1024 * 512, rig_.seed()));
    }
    rig_.create(options);
    return rig_.model().active;
  }
  std::unique_ptr<Qcow2Image> open() { return rig_.open(true, GetParam().memory_max); }
  void close(Qcow2Image& image) { rig_.must(image.close(), "close"); }

  SnapshotRig rig_{platter::test::test_seed()};
};

TEST_P(MakeEmpty, TheDiskReadsAsItsBackingImageAndTheFileIsSmallAgain) {
  for (const bool backed : {false, true}) {
    const Bytes below = make(backed);
    const std::uint64_t size = rig_.file().live().size();
    auto image = open();
    rig_.write_some(*image, GetParam().compressed);
    rig_.must(image->make_empty(), "make_empty");
    EXPECT_EQ(rig_.run(SnapshotRig::read_all(*image)).value(), below);
    close(*image);
    rig_.model().active = below;
    EXPECT_EQ(rig_.look(), rig_.model());
    rig_.expect_clean();
    // Refcount blocks stay.
    EXPECT_LE(rig_.file().live().size(), size + 100 * GetParam().options.cluster_size);
  }
}

TEST_P(MakeEmpty, SnapshotsStayAndTheImageIsWrittenAsBefore) {
  const Bytes below = make(/*backed=*/true);
  auto image = open();
  rig_.write_some(*image, GetParam().compressed);
  // Counts of one bit leave no room for a snapshot of what is there.
  if (GetParam().options.refcount_bits > 1) rig_.snapshot(*image, "one");
  rig_.write_some(*image, GetParam().compressed);
  rig_.must(image->make_empty(), "make_empty");
  rig_.model().active = below;
  rig_.write_some(*image, GetParam().compressed);
  close(*image);
  EXPECT_EQ(rig_.look(), rig_.model());
  rig_.expect_clean();
}

INSTANTIATE_TEST_SUITE_P(Options, MakeEmpty, testing::ValuesIn(test::snapshot_sets()),
                         [](const auto& set) { return set.param.name; });

class BackingFile : public testing::Test {
 protected:
  BackingFile() {
    CreateOptions options;
    options.size = 100 * kKiB;
    options.cluster_size = 512;
    options.backing_file = "backing";
    options.backing_format = "raw";
    rig_.create(options);
  }
  Result<void> set(BackingReference reference) {
    auto image = rig_.open();
    Result<void> possible = rig_.run(image->check_backing_file(reference));
    Result<void> done = rig_.run(image->set_backing_file(std::move(reference)));
    EXPECT_EQ(possible.has_value(), done.has_value());
    rig_.must(image->close(), "close");
    return done;
  }
  Header header() {
    auto image = rig_.open(/*writable=*/false);
    Header header = image->header();
    rig_.must(image->close(), "close");
    return header;
  }

  SnapshotRig rig_;
};

TEST_F(BackingFile, TheHeaderNamesAnotherOneOrNone) {
  ASSERT_TRUE(set({.name = "other", .format = "qcow2"}));
  EXPECT_EQ(header().backing_file, "other");
  EXPECT_EQ(header().backing_format, "qcow2");
  ASSERT_TRUE(set({}));
  EXPECT_EQ(header().backing_file, std::nullopt);
  EXPECT_EQ(header().backing_format, std::nullopt);
  rig_.expect_clean();
}

TEST_F(BackingFile, ANameWithoutRoomChangesNothing) {
  const Result<void> done = set({.name = std::string(500, 'n'), .format = "raw"});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::no_space);
  EXPECT_EQ(header().backing_file, "backing");
}

TEST_F(BackingFile, ANameThatNoHeaderCanHoldIsWrong) {
  const Result<void> done = set({.name = std::string(1024, 'n'), .format = "raw"});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::invalid_argument);
}

}  // namespace
}  // namespace platter::qcow2
