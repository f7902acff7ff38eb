#include "src/provision/disk_info.h"

#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

#include "tests/src/ops/file_tools.h"

namespace platter::provision::test {
namespace {

using platter::test::read_file;
using platter::test::status_of;
using platter::test::write_file;

class DiskFormats : public testing::Test {
 protected:
  std::string text() const {
    const auto bytes = read_file(folder_.path_of("disk.info"));
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void set_text(std::string_view text) const {
    write_file(folder_.path_of("disk.info"), std::as_bytes(std::span(text)));
  }
  Result<void> record(const std::string& path, const std::string& format) {
    return ring_->run(info_.record(path, format));
  }

  platter::test::TempDir dir_;
  std::unique_ptr<Ring> ring_ = Ring::create().value();
  Folder folder_ = Folder::open(dir_.path()).value();
  DiskInfo info_{folder_};
};

TEST_F(DiskFormats, AreRecordedOnce) {
  EXPECT_EQ(info_.format_of("/i/disk").value(), std::nullopt);
  const mode_t umask_before = ::umask(077);
  ASSERT_TRUE(record("/i/disk", "qcow2"));
  ::umask(umask_before);
  EXPECT_EQ(text(), R"({"/i/disk": "qcow2"})"
                    "\n");
  EXPECT_EQ(status_of(folder_.path_of("disk.info")).mode & 07777, 0644U);
  ASSERT_TRUE(record("/i/disk.eph0", "raw"));
  EXPECT_EQ(text(), R"({"/i/disk": "qcow2", "/i/disk.eph0": "raw"})"
                    "\n");
  EXPECT_EQ(info_.format_of("/i/disk").value(), "qcow2");
  const std::uint64_t inode = status_of(folder_.path_of("disk.info")).inode;
  ASSERT_TRUE(record("/i/disk", "qcow2"));
  EXPECT_EQ(status_of(folder_.path_of("disk.info")).inode, inode);  // not written again
  const auto changed = record("/i/disk", "raw");
  ASSERT_FALSE(changed);
  EXPECT_EQ(changed.error().kind(), ErrorKind::already_exists);
  EXPECT_EQ(info_.format_of("/i/disk").value(), "qcow2");
  EXPECT_EQ(folder_.names()->size(), 1U);
}

TEST_F(DiskFormats, AreForgottenOneByOne) {
  ASSERT_TRUE(record("/i/a", "raw"));
  ASSERT_TRUE(record("/i/b", "raw"));
  ASSERT_TRUE(ring_->run(info_.forget("/i/c")));
  ASSERT_TRUE(ring_->run(info_.forget("/i/a")));
  EXPECT_EQ(text(), R"({"/i/b": "raw"})"
                    "\n");
  ASSERT_TRUE(ring_->run(info_.forget("/i/b")));
  EXPECT_TRUE(folder_.names()->empty());
}

TEST_F(DiskFormats, OfADamagedFileAreAnError) {
  for (const std::string& bad :
       {std::string("{"), std::string("[]"), std::string(R"({"a": 1})"), std::string("raw"),
        std::string("\xff\xfe"), std::string(70'000, ' ')}) {
    set_text(bad);
    const auto format = info_.format_of("/i/disk");
    ASSERT_FALSE(format);
    EXPECT_EQ(format.error().kind(), ErrorKind::corrupt_image);
    EXPECT_NE(format.error().message().find("disk.info"), std::string::npos);
    EXPECT_FALSE(record("/i/disk", "raw"));
    EXPECT_EQ(text(), bad);
  }
}

TEST_F(DiskFormats, AreNotReadThroughALink) {
  write_file(dir_ / "other", std::as_bytes(std::span("{}", 2)));
  ASSERT_EQ(::symlink("other", folder_.path_of("disk.info").c_str()), 0);
  const auto format = info_.format_of("/i/disk");
  ASSERT_FALSE(format);
  EXPECT_EQ(format.error().kind(), ErrorKind::refused_by_policy);
}

// What a killed writer left goes; nothing is written through a link in its place, of either kind.
TEST_F(DiskFormats, AreWrittenBesideAndRenamed) {
  write_file(folder_.path_of("disk.info.part"), std::as_bytes(std::span("{\"/i/x", 6)));
  ASSERT_TRUE(record("/i/disk", "raw"));
  EXPECT_EQ(text(), R"({"/i/disk": "raw"})"
                    "\n");
  EXPECT_EQ(folder_.names()->size(), 1U);
  write_file(dir_ / "other", std::as_bytes(std::span("x", 1)));
  ASSERT_EQ(::symlink("other", folder_.path_of("disk.info.part").c_str()), 0);
  EXPECT_TRUE(record("/i/b", "raw"));
  EXPECT_EQ(read_file(dir_ / "other").size(), 1U);
  ASSERT_EQ(::link((dir_ / "other").c_str(), folder_.path_of("disk.info.part").c_str()), 0);
  EXPECT_TRUE(record("/i/c", "raw"));
  EXPECT_EQ(read_file(dir_ / "other").size(), 1U);
  EXPECT_EQ(info_.format_of("/i/c").value(), "raw");
}

TEST_F(DiskFormats, AreOfPathsThatJsonCanHold) {
  ASSERT_TRUE(record("/i/\"\\ä\x01", "raw"));
  EXPECT_EQ(text(), "{\"/i/\\\"\\\\\\u00e4\\u0001\": \"raw\"}\n");
  EXPECT_EQ(info_.format_of("/i/\"\\ä\x01").value(), "raw");
  const Result<void> recorded = record("/i/\xff", "raw");
  ASSERT_FALSE(recorded);
  EXPECT_EQ(recorded.error().kind(), ErrorKind::invalid_argument);
}

}  // namespace
}  // namespace platter::provision::test
