// LVM's metadata on a loop device, with nothing activated: this needs no device-mapper. What does is
// in tests/vm.
#include "crypto/volume_group.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "tests/support/loop_device.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter {
namespace {

using test::Command;

constexpr std::uint64_t kMiB = 1 << 20;

// LVM reads its settings once in the life of a process: one folder for all tests, and a name of its
// own for the group, so that no other one is ever touched.
class LvmSettings : public ::testing::Environment {
 public:
  static inline std::string folder;
  void SetUp() override {
    folder_ = std::make_unique<test::TempDir>();
    folder = folder_->path();
    std::ofstream(*folder_ / "lvm.conf")
        << "global { activation = 0  locking_dir = \"" << folder << "/lock\" }\n"
        << "devices { global_filter = [\"a|^/dev/loop|\", \"r|.*|\"]  use_devicesfile = 0 }\n"
        << "backup { backup = 0  archive = 0 }\n";
    ::setenv("LVM_SYSTEM_DIR", folder.c_str(), 1);
  }
  void TearDown() override { folder_.reset(); }

 private:
  std::unique_ptr<test::TempDir> folder_;
};
[[maybe_unused]] const auto* const kSettings = ::testing::AddGlobalTestEnvironment(new LvmSettings);

class VolumeMetadataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (auto why = test::no_loop_devices()) GTEST_SKIP() << *why;
    if (!test::have_program("vgcreate")) GTEST_SKIP() << "no lvm2";
    disk_ = folder_ / "disk";
    std::ofstream(disk_).close();
    std::filesystem::resize_file(disk_, 64 * kMiB);
    loop_.emplace(disk_);
    lvm({"vgcreate", "--yes", name_, loop_->path()});
    Result<std::unique_ptr<Ring>> made = Ring::create();
    ASSERT_TRUE(made);
    ring_ = *std::move(made);
  }
  std::string lvm(std::vector<std::string> words) {
    const auto result = test::run_command(Command{.argv = std::move(words)});
    EXPECT_TRUE(result.ok()) << result.err;
    return result.out;
  }
  template <class T>
  T must(Task<T> task) {
    Result<T> result = ring_->run(std::move(task));
    EXPECT_TRUE(result) << result.error().message();
    if constexpr (!std::is_void_v<T>) return result ? *std::move(result) : T{};
  }
  template <class T>
  ErrorKind error_of(Task<T> task) {
    const Result<T> result = ring_->run(std::move(task));
    EXPECT_FALSE(result);
    return result ? ErrorKind::cancelled : result.error().kind();
  }
  VolumeGroup group() { return *VolumeGroup::named(name_); }
  VolumeInfo make(const std::string& name, std::uint64_t size) {
    return must(group().create({.name = name, .size = size, .activate = false}));
  }

  const std::string name_ = "platter-test-" + std::to_string(::getpid());
  test::TempDir folder_;
  std::string disk_;
  std::optional<test::LoopDevice> loop_;
  std::unique_ptr<Ring> ring_;
};

TEST_F(VolumeMetadataTest, VolumesAreMadeGrownRenamedAndRemoved) {
  const std::uint64_t free = must(group().info()).free;
  EXPECT_FALSE(make("a", 5 * kMiB).active);
  EXPECT_EQ(must(group().volume("a")).size, 8 * kMiB);
  EXPECT_EQ(must(group().extend("a", 16 * kMiB)).size, 16 * kMiB);
  must(group().rename("a", "b"));
  EXPECT_EQ(error_of(group().volume("a")), ErrorKind::not_found);
  EXPECT_EQ(must(group().info()).free, free - 16 * kMiB);
  EXPECT_NE(lvm({"lvs", "--noheadings", "-o", "lv_name", name_}).find("b"), std::string::npos);
  must(group().remove("b"));
  EXPECT_TRUE(must(group().volumes()).empty());
  EXPECT_EQ(must(group().info()).free, free);
}

TEST_F(VolumeMetadataTest, ErrorsHaveTheirKinds) {
  make("a", 4 * kMiB);
  EXPECT_EQ(error_of(group().create({.name = "a", .size = 1, .activate = false})),
            ErrorKind::already_exists);
  EXPECT_EQ(error_of(group().create({.name = "b", .size = 65 * kMiB, .activate = false})),
            ErrorKind::no_space);
  EXPECT_EQ(error_of(group().create({.name = "b", .size = 0, .activate = false})),
            ErrorKind::invalid_argument);
  EXPECT_EQ(error_of(group().create({.name = "b", .size = ~0ULL, .activate = false})),
            ErrorKind::too_large);
  EXPECT_EQ(error_of(group().extend("a", 4 * kMiB)), ErrorKind::invalid_argument);
  EXPECT_EQ(error_of(group().remove("nope")), ErrorKind::not_found);
  EXPECT_EQ(error_of(VolumeGroup::named("nope")->volumes()), ErrorKind::not_found);
}

TEST_F(VolumeMetadataTest, WhatDoesNotGoTogetherIsRefused) {
  const auto refused = [this](NewVolume volume) {
    EXPECT_EQ(error_of(group().create(std::move(volume))), ErrorKind::invalid_argument);
  };
  refused({.name = "a", .kind = VolumeKind::other, .size = 1});
  refused({.name = "a", .size = 1, .pool = "p"});
  refused({.name = "a", .size = 1, .origin = "o"});
  refused({.name = "a", .kind = VolumeKind::snapshot, .size = 1});
  refused({.name = "a", .kind = VolumeKind::thin, .size = 1});
  refused({.name = "a", .kind = VolumeKind::thin, .size = 1, .pool = "p", .origin = "o"});
  refused({.name = "a", .kind = VolumeKind::thin_pool, .size = 1, .activate = false});
  refused({.name = "a", .kind = VolumeKind::thin, .size = 1, .pool = "-p"});
  refused({.name = "a", .kind = VolumeKind::snapshot, .size = 1, .origin = "o p"});
}

TEST_F(VolumeMetadataTest, ADamagedLabelIsAnErrorAndNoCrash) {
  make("a", 4 * kMiB);
  {
    std::fstream disk(disk_, std::ios::in | std::ios::out | std::ios::binary);
    disk.seekp(4096);
    disk << std::string(1 << 20, '#');
  }
  const Result<std::vector<VolumeInfo>> volumes = ring_->run(group().volumes());
  EXPECT_FALSE(volumes);
}

}  // namespace
}  // namespace platter
