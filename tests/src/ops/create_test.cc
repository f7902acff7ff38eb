#include "src/ops/create.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/loop_device.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class CreateImage : public FileTest {
 protected:
  Result<void> create(const std::string& path, std::uint64_t size,
                      Preallocation preallocation = Preallocation::off) {
    return run(create_image({.filename = path, .size = size, .preallocation = preallocation}));
  }
  std::string path_ = folder_ / "new.img";
};

TEST_F(CreateImage, ANewImageIsAFileOfItsSize) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{512}, kMiB, 10 * kTiB}) {
    const std::string path = folder_ / std::to_string(size);
    expect_ok(create(path, size));
    EXPECT_EQ(status_of(path).size, size);
    EXPECT_LE(status_of(path).used, 4096U);
  }
}

TEST_F(CreateImage, PreallocationTakesTheSpace) {
  for (const Preallocation mode : {Preallocation::falloc, Preallocation::full}) {
    const std::string path = folder_ / std::string(to_string(mode));
    expect_ok(create(path, 3 * kMiB + 512, mode));
    EXPECT_EQ(status_of(path).size, 3 * kMiB + 512);
    EXPECT_GE(status_of(path).used, 3 * kMiB + 512);
    EXPECT_TRUE(read_file(path) == Bytes(3 * kMiB + 512));
  }
}

TEST_F(CreateImage, AnEmptyImageTakesAnyPreallocation) {
  for (const Preallocation mode : {Preallocation::falloc, Preallocation::full}) {
    const std::string path = folder_ / std::string(to_string(mode));
    expect_ok(create(path, 0, mode));
    EXPECT_TRUE(status_of(path).exists);
  }
}

TEST_F(CreateImage, AnExistingFileIsMadeAnewInPlace) {
  write_file(path_, random_bytes(100'000, 1));
  const FileStatus before = status_of(path_);
  expect_ok(create(path_, 50'176));
  EXPECT_EQ(status_of(path_).inode, before.inode);
  EXPECT_TRUE(read_file(path_) == Bytes(50'176));
}

TEST_F(CreateImage, AFailureLeavesNoName) {
  expect_error(create(path_, 4096, Preallocation::metadata), ErrorKind::unsupported);
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CreateImage, CancelledNothingIsLeft) {
  CancelToken cancel;
  cancel.request();
  expect_error(run(create_image({.filename = path_,
                                 .size = kMiB,
                                 .preallocation = Preallocation::full,
                                 .cancel = &cancel})),
               ErrorKind::cancelled);
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CreateImage, AFullFilesystemIsLeftAsItWas) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem tiny(FilesystemKind::tmpfs, 2 * kMiB);
  for (const Preallocation mode : {Preallocation::falloc, Preallocation::full}) {
    expect_error(create(tiny / "image", 64 * kMiB, mode), ErrorKind::no_space);
    EXPECT_TRUE(names_in(tiny.path()).empty());
  }
}

TEST_F(CreateImage, ASizeThatTheFilesystemCanNotHaveIsTooLarge) {
  expect_error(create(path_, align_down(kMaxFileSize, 512)), ErrorKind::too_large);
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CreateImage, ADeviceMustBeLargeEnough) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const std::string file = folder_ / "disk";
  write_file(file, random_bytes(kMiB, 1));
  const LoopDevice device(file);
  expect_ok(create(device.path(), kMiB));
  expect_ok(create(device.path(), 512));
  expect_error(create(device.path(), kMiB + 512), ErrorKind::no_space);
}

}  // namespace
}  // namespace platter::test
