#include "crypto/lvm_error.h"

#include <gtest/gtest.h>

namespace platter {
namespace {

TEST(LvmError, TheTextIsOneLineWithoutRepetitions) {
  EXPECT_EQ(lvm_error_text("  Volume group \"a\" not found\n  Cannot process volume group a\n"),
            "Volume group \"a\" not found; Cannot process volume group a");
  EXPECT_EQ(lvm_error_text("  Twice.\n\nTwice\n"), "Twice");
  EXPECT_EQ(lvm_error_text(""), "LVM gave no reason");
  EXPECT_EQ(lvm_error_text("\n \n"), "LVM gave no reason");
}

// What LVM 2.03.16 says.
TEST(LvmError, TheKindFollowsLvmsWords) {
  constexpr int kFailed = 5;
  constexpr int kInvalid = 3;
  EXPECT_EQ(lvm_error_kind("Volume group \"a\" not found", kFailed), ErrorKind::not_found);
  EXPECT_EQ(lvm_error_kind("Failed to find logical volume \"a/b\"", kFailed), ErrorKind::not_found);
  EXPECT_EQ(lvm_error_kind("Logical Volume \"a\" already exists in volume group \"b\"", kFailed),
            ErrorKind::already_exists);
  EXPECT_EQ(lvm_error_kind("Volume group \"a\" has insufficient free space (1 extents): 2 required",
                           kFailed),
            ErrorKind::no_space);
  EXPECT_EQ(lvm_error_kind("Logical volume a/b contains a filesystem in use", kFailed),
            ErrorKind::in_use);
  EXPECT_EQ(lvm_error_kind("/run/lock/lvm/V_a:aux: open failed: Permission denied", kFailed),
            ErrorKind::permission);
  EXPECT_EQ(lvm_error_kind("New size given (1 extents) not larger than existing size (2 extents)",
                           kFailed),
            ErrorKind::invalid_argument);
  EXPECT_EQ(lvm_error_kind("something that nobody has seen", kFailed), ErrorKind::io);
  EXPECT_EQ(lvm_error_kind("something that nobody has seen", kInvalid),
            ErrorKind::invalid_argument);
}

}  // namespace
}  // namespace platter
