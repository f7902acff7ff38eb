#include "src/provision/filesystem_growth.h"

#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/ring.h"
#include "src/provision/run_program.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::provision {
namespace {

using test::run_command;

class FilesystemGrowth : public testing::Test {
 protected:
  void SetUp() override {
    if (!find_program("mkfs.ext4") || !find_program("resize2fs")) GTEST_SKIP() << "needs e2fsprogs";
    std::ofstream(path_) << "";
    set_size(64 * kMiB);
  }
  void set_size(std::uint64_t size) {
    ASSERT_EQ(::truncate(path_.c_str(), static_cast<off_t>(size)), 0);
  }
  Result<bool> grow() {
    const auto file =
        ring_->run(DirectFile::open(path_, FileOptions{.access = Access::read_write})).value();
    Result<bool> grown = ring_->run(grow_ext_filesystem(*file, nullptr));
    EXPECT_TRUE(ring_->run(file->close()));
    return grown;
  }
  // By dumpe2fs, in bytes.
  std::uint64_t filesystem_size() {
    const std::string out = run_command("/usr/sbin/dumpe2fs", "-h", path_).out;
    const auto number = [&out](const std::string& name) {
      const std::size_t at = out.find("\n" + name);
      return at == out.npos ? 0 : std::stoull(out.substr(at + 1 + name.size()));
    };
    return number("Block count:") * number("Block size:");
  }

  test::TempDir folder_;
  std::string path_ = folder_ / "disk";
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(FilesystemGrowth, FillsTheDiskAndKeepsWhatIsThere) {
  std::ofstream(folder_ / "file") << "contents";
  ASSERT_TRUE(run_command("mkfs.ext4", "-q", "-F", path_).ok());
  ASSERT_TRUE(
      run_command("/usr/sbin/debugfs", "-w", "-R", "write " + folder_ / "file" + " kept", path_)
          .ok());
  EXPECT_FALSE(grow().value());
  EXPECT_EQ(filesystem_size(), 64 * kMiB);
  set_size(96 * kMiB);
  const auto grown = grow();
  ASSERT_TRUE(grown) << grown.error().message();
  EXPECT_TRUE(*grown);
  EXPECT_EQ(filesystem_size(), 96 * kMiB);
  EXPECT_EQ(run_command("/usr/sbin/debugfs", "-R", "cat kept", path_).out, "contents");
  EXPECT_TRUE(run_command("/usr/sbin/e2fsck", "-f", "-n", path_).ok());
  EXPECT_FALSE(grow().value());
}

TEST_F(FilesystemGrowth, OtherContentsStay) {
  EXPECT_FALSE(grow().value());
  ASSERT_TRUE(run_command("mkfs.vfat", path_).ok() || !find_program("mkfs.vfat"));
  EXPECT_FALSE(grow().value());
  set_size(100);
  EXPECT_FALSE(grow().value());
}

TEST_F(FilesystemGrowth, ADamagedOneIsNotGrown) {
  ASSERT_TRUE(run_command("mkfs.ext4", "-q", "-F", path_).ok());
  set_size(96 * kMiB);
  {  // the group descriptors, and the root folder's inode
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096);
    file << std::string(2 * kMiB, '\x5a');
  }
  const auto grown = grow();
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error().kind(), ErrorKind::io);
  EXPECT_NE(grown.error().message().find("e2fsck' ended with exit code 4"), std::string::npos)
      << grown.error().message();
  EXPECT_EQ(filesystem_size(), 64 * kMiB);
}

}  // namespace
}  // namespace platter::provision
