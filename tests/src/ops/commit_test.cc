#include "src/ops/commit.h"

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

// root <- mid <- top, 1 MiB each unless said otherwise.
class Commit : public FileTest {
 protected:
  void make(const std::string& name, std::uint64_t size, const std::string& backing = "") {
    CreateOptions options{.filename = folder_ / name, .format = "qcow2", .size = size};
    if (!backing.empty()) {
      options.qcow2.backing_file = backing;
      options.qcow2.backing_format = "qcow2";
    }
    expect_ok(run(create_image(std::move(options))));
  }
  void make_chain() {
    make("root", 1 * kMiB);
    make("mid", 1 * kMiB, "root");
    make("top", 1 * kMiB, "mid");
    write("root", 0, 1);
    write("mid", 2, 2);
    write("top", 4, 3);
  }
  static Task<void> write_piece(std::string path, std::uint64_t index, std::byte value) {
    const OpenedImage opened =
        co_await open_image(path, {.purpose = OpenPurpose::write}, {.follow_references = true});
    const Bytes data(kPiece, value);
    co_await opened.image->write(index * kPiece, data);
    co_await opened.image->close();
  }
  void write(const std::string& name, std::uint64_t index, int value) {
    expect_ok(run(write_piece(folder_ / name, index, static_cast<std::byte>(value))));
  }
  static Task<Bytes> read_whole(std::string path) {
    const OpenedImage opened =
        co_await open_image(path, {.purpose = OpenPurpose::read}, {.follow_references = true});
    Bytes bytes(opened.image->virtual_size());
    co_await opened.image->read(0, bytes);
    co_await opened.image->close();
    co_return bytes;
  }
  Bytes contents(const std::string& name) { return run(read_whole(folder_ / name)).value(); }

  static Task<CopyStats> commit_named(std::string path, CommitOptions options) {
    const OpenedImage opened = co_await open_image(
        path,
        {.purpose = OpenPurpose::write, .writable_backing = WritableBacking{.name = options.base}},
        {.follow_references = true});
    Result<CopyStats> done = co_await commit(*opened.image, std::move(options)).result();
    Result<void> closed = co_await opened.image->close().result();
    co_await std::move(closed);
    co_return co_await std::move(done);
  }
  Result<CopyStats> commit_top(CommitOptions options = {}) {
    return run(commit_named(folder_ / "top", std::move(options)));
  }
};

TEST_F(Commit, TheBackingFileGetsWhatTheOverlayHoldsAndTheOverlayIsEmptied) {
  make_chain();
  const Bytes before = contents("top");
  const Bytes root = read_file(folder_ / "root");
  const Result<CopyStats> done = commit_top();
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->written, kPiece);
  EXPECT_EQ(contents("top"), before);
  EXPECT_EQ(contents("mid"), before);
  EXPECT_EQ(read_file(folder_ / "root"), root);
  EXPECT_LT(status_of(folder_ / "top").size, 5 * kPiece);
}

TEST_F(Commit, TheOverlayKeepsWhatItHoldsIfItIsNotToBeEmptied) {
  make_chain();
  const Bytes image = read_file(folder_ / "top");
  expect_ok(commit_top({.empty = false}));
  EXPECT_EQ(read_file(folder_ / "top"), image);
  EXPECT_EQ(contents("mid"), contents("top"));
}

TEST_F(Commit, ADeeperBaseGetsWhatAllLayersAboveHoldAndTheyStay) {
  make_chain();
  const Bytes before = contents("top");
  const Bytes mid = read_file(folder_ / "mid");
  const Result<CopyStats> done = commit_top({.base = "root", .empty = false});
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->written, 2 * kPiece);
  EXPECT_EQ(contents("root"), before);
  EXPECT_EQ(contents("top"), before);
  EXPECT_EQ(read_file(folder_ / "mid"), mid);
}

TEST_F(Commit, ZeroesOfTheOverlayCostTheBaseNoSpace) {
  make("mid", 64 * kMiB);
  make("top", 64 * kMiB, "mid");
  write("mid", 0, 1);
  const std::uint64_t used = status_of(folder_ / "mid").used;
  write("top", 0, 0);
  write("top", 5, 0);
  const Result<CopyStats> done = commit_top();
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(done->written, 0U);
  EXPECT_EQ(contents("mid"), Bytes(64 * kMiB));
  EXPECT_LE(status_of(folder_ / "mid").used, used);
}

TEST_F(Commit, ABaseOutsideOfTheChainIsNotFoundAndNothingIsChanged) {
  make_chain();
  make("other", 1 * kMiB);
  const Bytes image = read_file(folder_ / "top");
  const auto done = commit_top({.base = "other", .empty = false});
  expect_error(done, ErrorKind::not_found);
  EXPECT_EQ(done.error().message(),
            "Did not find 'other' in the backing chain of '" + folder_ / "top" + "'");
  EXPECT_EQ(read_file(folder_ / "top"), image);
}

TEST_F(Commit, AnImageWithoutABackingFileIsRefused) {
  make("top", 1 * kMiB);
  const auto done = commit_top();
  expect_error(done, ErrorKind::invalid_argument);
  EXPECT_EQ(done.error().message(), "Image does not have a backing file");
}

TEST_F(Commit, ABaseThatSomeoneElseReadsIsLeftAlone) {
  make_chain();
  make("second", 1 * kMiB, "mid");
  const Bytes image = read_file(folder_ / "mid");
  Result<OpenedImage> other = run(
      open_image(folder_ / "second", {.purpose = OpenPurpose::read}, {.follow_references = true}));
  ASSERT_TRUE(other) << other.error().message();
  expect_error(commit_top(), ErrorKind::in_use);
  expect_ok(run(other->image->close()));
  EXPECT_EQ(read_file(folder_ / "mid"), image);
  expect_ok(commit_top());
}

TEST_F(Commit, ACancellationLeavesTheOverlayAsItWas) {
  make_chain();
  const Bytes before = contents("top");
  CancelToken cancel;
  cancel.request();
  expect_error(commit_top({.cancel = &cancel}), ErrorKind::cancelled);
  EXPECT_EQ(contents("top"), before);
}

TEST_F(Commit, ProgressEndsWithAllOfIt) {
  make_chain();
  int told = 0;
  Progress progress([&](const Progress&) { ++told; });
  expect_ok(commit_top({.progress = &progress}));
  EXPECT_GT(told, 1);
  EXPECT_EQ(progress.percent(), 100);
}

}  // namespace
}  // namespace platter::test
