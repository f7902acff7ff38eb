#include "crypto/device_name.h"

#include <gtest/gtest.h>

namespace platter {
namespace {

std::string why(const Result<void>& checked) { return checked ? "" : checked.error().message(); }

TEST(DeviceName, WhatLvmAllowsIsAllowed) {
  for (const char* name : {"a", "A-Z_0.9+", "_a", "+a", ".a", "a--b", "0"}) {
    EXPECT_EQ(why(check_volume_name("volume", name)), "") << name;
  }
  EXPECT_EQ(why(check_volume_name("volume", std::string(127, 'a'))), "");
}

TEST(DeviceName, WhatCouldMeanSomethingElseIsNot) {
  for (const std::string name :
       {"",    ".",   "..",   "-a",  "--a", "a b",  "a'",       "a\"", "#",
        "a#b", "a/b", "a\\b", "a\n", "a\t", "@a",   "a=b",      "a,b", "$a",
        "`a`", "a;b", "a|b",  "*",   "~",   "\x7f", "\xc3\xa4", "[a]", "a:b"}) {
    const Result<void> checked = check_volume_name("volume", name);
    ASSERT_FALSE(checked) << name;
    EXPECT_EQ(checked.error().kind(), ErrorKind::invalid_argument);
    EXPECT_EQ(checked.error().message().find('\n'), std::string::npos);
  }
  EXPECT_FALSE(check_volume_name("volume", std::string_view("a\0b", 3)));
  EXPECT_FALSE(check_volume_name("volume", std::string(128, 'a')));
}

TEST(DeviceName, TheMessageSaysWhatAndWhy) {
  EXPECT_EQ(why(check_volume_name("volume group", "a\nb")),
            "Invalid volume group name 'a\\x0ab': only letters, digits and +_.- are allowed");
  EXPECT_EQ(why(check_volume_name("volume", "-a")),
            "Invalid volume name '-a': it begins with a hyphen");
}

TEST(DeviceName, MappingsMayHaveMoreCharactersAndNotControl) {
  for (const char* name : {"a", "vg-lv", "a#b", "a:b", "a=b", "a@b", "-a"}) {
    EXPECT_EQ(why(check_mapping_name(name)), "") << name;
  }
  for (const char* name : {"", ".", "..", "control", "a/b", "../a", "a b", "a\n"}) {
    EXPECT_FALSE(check_mapping_name(name)) << name;
  }
}

TEST(DeviceName, APathIsAbsolute) {
  EXPECT_TRUE(check_device_path("/dev/a"));
  EXPECT_FALSE(check_device_path("a"));
  EXPECT_FALSE(check_device_path(""));
  EXPECT_FALSE(check_device_path(std::string_view("/a\0b", 4)));
}

TEST(DeviceName, HyphensAreDoubledInAVolumesMapping) {
  EXPECT_EQ(mapping_of_volume("vg", "lv"), "vg-lv");
  EXPECT_EQ(mapping_of_volume("v-g", "l--v"), "v--g-l----v");
  EXPECT_EQ(path_of_volume("v-g", "lv"), "/dev/v-g/lv");
}

}  // namespace
}  // namespace platter
