#include "src/provision/names.h"

#include <string>

#include <gtest/gtest.h>

namespace platter::provision::test {
namespace {

constexpr std::string_view kUuid = "0b4f1e52-3a9c-4d6e-8f00-123456789abc";

TEST(DiskNames, OfInstancesAreUuids) {
  EXPECT_TRUE(DiskName::parse(kUuid, "disk"));
  for (const std::string_view bad :
       {"", "disk", "..", "0b4f1e52-3a9c-4d6e-8f00-123456789ab",
        "0B4F1E52-3a9c-4d6e-8f00-123456789abc", "0b4f1e52/3a9c-4d6e-8f00-123456789abc",
        "0b4f1e52-3a9c-4d6e-8f00-123456789abcd"}) {
    const auto name = DiskName::parse(bad, "disk");
    ASSERT_FALSE(name) << bad;
    EXPECT_EQ(name.error().kind(), ErrorKind::invalid_argument);
  }
}

TEST(DiskNames, CanNotLeaveTheirFolder) {
  for (const std::string_view good :
       {"disk", "disk.eph0", "disk_1", "root", "_x", "0", "disk.config"}) {
    EXPECT_TRUE(DiskName::parse(kUuid, good)) << good;
  }
  const std::string with_nul("disk\0x", 6);
  const std::string long_name(129, 'a');
  for (const std::string_view bad : std::initializer_list<std::string_view>{
           "", ".", "..", "../disk", "a/b", "/disk", ".hidden", "-f", "a b", "disk\n", "d\xc3\xa9",
           with_nul, long_name, "disk.info"}) {
    EXPECT_FALSE(DiskName::parse(kUuid, bad)) << bad;
  }
}

TEST(DiskNames, OfVolumesDoubleUnderscores) {
  const auto disk = DiskName::parse(kUuid, "disk_a__b").value();
  EXPECT_EQ(volume_name(disk).value(), std::string(kUuid) + "_disk__a____b");
  const auto long_disk = DiskName::parse(kUuid, std::string(60, '_')).value();
  EXPECT_FALSE(volume_name(long_disk));
}

TEST(BaseNames, AreTheDigestOfTheImagesId) {
  // printf IMAGE | sha1sum
  EXPECT_EQ(base_name_of("abc").value(), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(base_lock_name("x"), "nova-x");
  for (const std::string& bad : {std::string(), std::string("a\nb"), std::string(1025, 'a')}) {
    EXPECT_FALSE(base_name_of(bad));
  }
}

TEST(VolumeGroups, FollowTheRulesOfLvm) {
  for (const std::string_view good : {"vg", "nova-volumes", "a+b", "a.b"})
    EXPECT_TRUE(check_volume_group(good));
  for (const std::string_view bad : {"", "-vg", ".", "..", "a/b", "a b"})
    EXPECT_FALSE(check_volume_group(bad)) << bad;
}

TEST(BadNames, AreShownWithoutControlCharacters) {
  const auto name = DiskName::parse(kUuid, "\x1b[2Jdisk");
  ASSERT_FALSE(name);
  EXPECT_EQ(name.error().message().find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace platter::provision::test
