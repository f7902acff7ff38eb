#include "src/ops/rebase.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/open.h"
#include "io/bytes.h"
#include "src/ops/create.h"
#include "tests/src/ops/file_tools.h"

namespace platter::test {
namespace {

constexpr std::uint64_t kPiece = 64 * kKiB;

class Rebase : public FileTest {
 protected:
  void make(const std::string& name, std::uint64_t size, const std::string& backing = "",
            bool extended_l2 = false) {
    CreateOptions options{.filename = folder_ / name, .format = "qcow2", .size = size};
    options.qcow2.extended_l2 = extended_l2;
    if (!backing.empty()) {
      options.qcow2.backing_file = backing;
      options.qcow2.backing_format = "qcow2";
    }
    expect_ok(run(create_image(std::move(options))));
  }
  // Two backing files that are equal but for two clusters, and an overlay that holds one of these.
  void make_all(bool extended_l2 = false) {
    make("old", 1 * kMiB);
    make("new", 1 * kMiB);
    make("top", 1 * kMiB, "old", extended_l2);
    for (const char* const name : {"old", "new"}) write(name, 0, kPiece, 1);
    write("old", 2 * kPiece, kPiece, 2);
    write("new", 2 * kPiece, kPiece, 3);
    write("new", 4 * kPiece, kPiece, 4);
    write("top", 4 * kPiece, kPiece, 5);
  }
  static Task<void> write_run(std::string path, std::uint64_t offset, Bytes data) {
    const OpenedImage opened =
        co_await open_image(path, {.purpose = OpenPurpose::write}, {.follow_references = true});
    co_await opened.image->write(offset, data);
    co_await opened.image->close();
  }
  void write(const std::string& name, std::uint64_t offset, std::uint64_t length, int value) {
    expect_ok(run(write_run(folder_ / name, offset, Bytes(length, static_cast<std::byte>(value)))));
  }
  struct Look {
    Bytes bytes;
    std::string backing;
    std::vector<Mapping> mappings;  // the image's own
  };
  static Task<Look> look_at(std::string path) {
    const OpenedImage opened =
        co_await open_image(path, {.purpose = OpenPurpose::read}, {.follow_references = true});
    Image& image = *opened.image;
    const ImageInfo info = co_await image.info();
    Look look{.bytes = Bytes(image.virtual_size()), .backing = info.backing_file.value_or("")};
    co_await image.read(0, look.bytes);
    look.mappings = co_await image.map(0, image.virtual_size(), 1000);
    co_await image.close();
    co_return look;
  }
  Look look(const std::string& name) { return run(look_at(folder_ / name)).value(); }

  static Task<RebaseStats> rebase_named(std::string path, RebaseOptions options) {
    const OpenedImage opened = co_await open_image(
        path, {.purpose = OpenPurpose::write, .without_backing = options.unsafe},
        {.follow_references = true});
    options.policy.follow_references = true;
    Result<RebaseStats> done = co_await rebase(*opened.image, std::move(options)).result();
    co_await opened.image->close();
    co_return co_await std::move(done);
  }
  Result<RebaseStats> rebase_top(RebaseOptions options) {
    return run(rebase_named(folder_ / "top", std::move(options)));
  }
  static RebaseOptions onto(const char* name, const char* format = "qcow2") {
    RebaseOptions options;
    if (name != nullptr) options.backing_name = name;
    if (format != nullptr) options.backing_format = format;
    return options;
  }
};

TEST_F(Rebase, OnlyClustersThatDifferAreWrittenAndTheRestIsLeftToTheNewFile) {
  make_all();
  const Bytes before = look("top").bytes;
  const Result<RebaseStats> done = rebase_top(onto("new"));
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->written, kPiece);
  EXPECT_EQ(done->zeroed, 0U);
  const Look after = look("top");
  EXPECT_EQ(after.bytes, before);
  EXPECT_EQ(after.backing, "new");
  std::uint64_t held = 0;
  for (const Mapping& run : after.mappings) {
    if (run.kind != MappingKind::unallocated) held += run.length;
  }
  EXPECT_EQ(held, 2 * kPiece);
}

TEST_F(Rebase, SubclustersAreComparedOneByOne) {
  make_all(/*extended_l2=*/true);
  write("new", 8 * kPiece + 4 * kKiB, 2 * kKiB, 7);
  const Bytes before = look("top").bytes;
  const Result<RebaseStats> done = rebase_top(onto("new"));
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->zeroed, 2 * kKiB);
  EXPECT_EQ(look("top").bytes, before);
}

TEST_F(Rebase, WhatBothChainsHaveFromTheSameFileIsNotRead) {
  make("base", 4 * kMiB);
  write("base", 0, 4 * kMiB, 1);
  make("old", 4 * kMiB, "base");
  make("new", 4 * kMiB, "base");
  make("top", 4 * kMiB, "old");
  write("old", 2 * kPiece, kPiece, 2);
  const Bytes before = look("top").bytes;
  const Result<RebaseStats> done = rebase_top(onto("new"));
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->compared, kPiece);
  EXPECT_EQ(done->written, kPiece);
  EXPECT_EQ(look("top").bytes, before);
}

TEST_F(Rebase, OntoAnImageOfTheChainWhatLiesBetweenIsLookedAt) {
  make("base", 1 * kMiB);
  make("old", 1 * kMiB, "base");
  make("top", 1 * kMiB, "old");
  write("base", 0, 1 * kMiB, 1);
  write("old", 2 * kPiece, kPiece, 2);
  const Bytes before = look("top").bytes;
  const Result<RebaseStats> done = rebase_top(onto("base"));
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->compared, kPiece);
  EXPECT_EQ(look("top").bytes, before);
  EXPECT_EQ(look("top").backing, "base");
}

TEST_F(Rebase, WithoutANewFileTheImageHoldsAllOfItself) {
  make_all();
  const Bytes before = look("top").bytes;
  expect_ok(rebase_top(onto(nullptr, nullptr)));
  std::filesystem::remove(folder_ / "old");
  EXPECT_EQ(look("top").bytes, before);
  EXPECT_EQ(look("top").backing, "");
}

TEST_F(Rebase, WhatIsWrittenIsCompressedOnDemand) {
  make_all();
  const Bytes before = look("top").bytes;
  RebaseOptions options = onto(nullptr, nullptr);
  options.compress = true;
  expect_ok(rebase_top(std::move(options)));
  const Look after = look("top");
  EXPECT_EQ(after.bytes, before);
  EXPECT_TRUE(std::ranges::any_of(
      after.mappings, [](const Mapping& run) { return run.kind == MappingKind::compressed; }));
}

TEST_F(Rebase, UnsafeOnlyTheNameIsChangedWhateverIsThere) {
  make_all();
  std::filesystem::remove(folder_ / "old");
  RebaseOptions options = onto("new");
  options.unsafe = true;
  expect_ok(rebase_top(std::move(options)));
  const Look after = look("top");
  EXPECT_EQ(after.backing, "new");
  EXPECT_EQ(after.bytes[2 * kPiece], std::byte{3});
}

TEST_F(Rebase, AFormatMustBeGivenAndNothingIsChangedBefore) {
  make_all();
  const Bytes image = read_file(folder_ / "top");
  const auto done = rebase_top(onto("new", nullptr));
  expect_error(done, ErrorKind::invalid_argument);
  EXPECT_EQ(done.error().message(),
            "Could not change the backing file to 'new': backing format must be specified");
  EXPECT_EQ(read_file(folder_ / "top"), image);
}

TEST_F(Rebase, ANameWithoutRoomInTheHeaderIsRefusedBeforeAnythingIsWritten) {
  CreateOptions small{.filename = folder_ / "top", .format = "qcow2", .size = 1 * kMiB};
  small.qcow2.cluster_size = 512;
  make("old", 1 * kMiB);
  write("old", 0, kPiece, 1);
  make("new", 1 * kMiB);
  small.qcow2.backing_file = "old";
  small.qcow2.backing_format = "qcow2";
  expect_ok(run(create_image(std::move(small))));
  const Bytes image = read_file(folder_ / "top");
  std::string name;
  for (int i = 0; i < 250; ++i) name += "./";
  const auto done = rebase_top(onto((name + "new").c_str()));
  expect_error(done, ErrorKind::no_space);
  EXPECT_TRUE(done.error().message().ends_with(": No space left in the file header"));
  EXPECT_EQ(read_file(folder_ / "top"), image);
}

TEST_F(Rebase, AChainThatHoldsTheOverlayItselfIsRefusedWithoutLocksToo) {
  make("old", 1 * kMiB);
  make("top", 1 * kMiB, "old");
  make("new", 1 * kMiB, "top");
  for (const bool force_share : {false, true}) {
    RebaseOptions options = onto("new");
    options.force_share = force_share;
    expect_error(rebase_top(std::move(options)), ErrorKind::in_use);
  }
  EXPECT_EQ(look("top").backing, "old");
}

TEST_F(Rebase, ARawImageHasNoBackingFile) {
  write_file(folder_ / "top", Bytes(), 1 * kMiB);
  make("new", 1 * kMiB);
  expect_error(rebase_top(onto("new")), ErrorKind::unsupported);
}

TEST_F(Rebase, ACancellationLeavesTheOverlayAsItWas) {
  make_all();
  const Bytes before = look("top").bytes;
  CancelToken cancel;
  cancel.request();
  RebaseOptions options = onto("new");
  options.cancel = &cancel;
  expect_error(rebase_top(std::move(options)), ErrorKind::cancelled);
  EXPECT_EQ(look("top").bytes, before);
  EXPECT_EQ(look("top").backing, "old");
}

}  // namespace
}  // namespace platter::test
