#include "src/ops/clone.h"

#include <string>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "src/ops/create.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/loop_device.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class CloneImage : public testing::Test {
 protected:
  Result<CloneResult> clone(const std::string& source, const std::string& target, CloneMode mode,
                            const std::string& format = "raw") {
    auto result = ring_->run(
        clone_image({.source = source, .source_format = format, .target = target, .mode = mode}));
    EXPECT_EQ(ring_->buffers().in_use(), 0U);
    return result;
  }
  void create_overlay(const std::string& path, const std::string& backing) {
    CreateOptions options{.filename = path, .format = "qcow2", .size = kMiB};
    options.qcow2.backing_file = backing;
    options.qcow2.backing_format = "raw";
    ASSERT_TRUE(ring_->run(create_image(std::move(options))));
  }

  TempDir folder_;
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(CloneImage, ACopyHasTheSameBytesAndLength) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{100'001}, std::size_t{3 * kMiB}}) {
    const Bytes bytes = random_bytes(size, size);
    const std::string target = folder_ / std::to_string(size);
    write_file(folder_ / "source", bytes);
    const auto result = clone(folder_ / "source", target, CloneMode::copy);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(result->mode, CloneMode::copy);
    EXPECT_TRUE(read_file(target) == bytes);
  }
}

TEST_F(CloneImage, BlocksAreSharedWhereTheFilesystemCan) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem xfs(FilesystemKind::xfs);
  const Bytes bytes = random_bytes(kMiB + 1, 7);
  write_file(xfs / "source", bytes);
  for (const CloneMode mode : {CloneMode::reflink, CloneMode::automatic}) {
    const std::string target = xfs / to_string(mode);
    const auto result = clone(xfs / "source", target, mode);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(result->mode, CloneMode::reflink);
    EXPECT_TRUE(read_file(target) == bytes);
  }
}

TEST_F(CloneImage, WhatCanNotBeSharedIsAnErrorAndLeavesNothing) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem memory(FilesystemKind::tmpfs, 8 * kMiB);
  write_file(memory / "source", random_bytes(8192, 1));
  const auto result = clone(memory / "source", memory / "target", CloneMode::reflink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::unsupported);
  EXPECT_FALSE(status_of(memory / "target").exists);
}

TEST_F(CloneImage, ATargetThatExistsIsLeftAlone) {
  write_file(folder_ / "source", random_bytes(8192, 1));
  const Bytes mine = random_bytes(100, 2);
  write_file(folder_ / "target", mine);
  for (const CloneMode mode : {CloneMode::automatic, CloneMode::copy, CloneMode::overlay}) {
    const auto result = clone(folder_ / "source", folder_ / "target", mode);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), ErrorKind::already_exists);
  }
  EXPECT_TRUE(read_file(folder_ / "target") == mine);
}

TEST_F(CloneImage, AnOverlayNamesItsSourceByNameOrByPath) {
  write_file(folder_ / "source", random_bytes(8192, 1));
  const auto beside = clone(folder_ / "source", folder_ / "beside", CloneMode::overlay);
  ASSERT_TRUE(beside) << beside.error().message();
  EXPECT_EQ(beside->backing_file, "source");
  EXPECT_EQ(beside->format, "qcow2");
  ASSERT_EQ(::mkdir((folder_ / "sub").c_str(), 0755), 0);
  const auto elsewhere = clone(folder_ / "source", folder_ / "sub/elsewhere", CloneMode::overlay);
  ASSERT_TRUE(elsewhere) << elsewhere.error().message();
  EXPECT_EQ(elsewhere->backing_file, std::filesystem::canonical(folder_ / "source").string());
}

TEST_F(CloneImage, ARelativeBackingNameIsNotCarriedElsewhere) {
  write_file(folder_ / "base", random_bytes(8192, 1));
  create_overlay(folder_ / "image", "base");
  ASSERT_EQ(::mkdir((folder_ / "sub").c_str(), 0755), 0);
  const auto refused =
      clone(folder_ / "image", folder_ / "sub/copy", CloneMode::copy, /*format=*/"qcow2");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::invalid_argument);
  EXPECT_TRUE(clone(folder_ / "image", folder_ / "copy", CloneMode::copy, "qcow2"));
  const auto overlay =
      clone(folder_ / "image", folder_ / "sub/copy", CloneMode::automatic, "qcow2");
  ASSERT_TRUE(overlay) << overlay.error().message();
  EXPECT_EQ(overlay->mode, CloneMode::overlay);
  EXPECT_TRUE(overlay->reason);
}

TEST(ParseCloneMode, KnowsItsNames) {
  for (const CloneMode mode :
       {CloneMode::automatic, CloneMode::reflink, CloneMode::copy, CloneMode::overlay}) {
    EXPECT_EQ(parse_clone_mode(to_string(mode)).value(), mode);
  }
  EXPECT_FALSE(parse_clone_mode(""));
}

}  // namespace
}  // namespace platter::test
