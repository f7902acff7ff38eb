// What tests have in the guest: two disks for a volume group, another one to write to.
#pragma once

#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "crypto/dm_device.h"
#include "crypto/volume_group.h"
#include "io/ring.h"
#include "tests/support/run_command.h"

namespace platter::test {

/// "/dev/ubda" or "/dev/vda", by letter.
inline std::string guest_disk(char letter) {
  for (const char* prefix : {"/dev/ubd", "/dev/vd"}) {
    std::string path = std::string(prefix) + letter;
    if (std::filesystem::exists(path)) return path;
  }
  ADD_FAILURE() << "this test runs in the guest of tests/vm";
  return "/dev/null";
}

/// How many descriptors this process has.
inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

/// A ring for each test.
class WithRing : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<Ring>> made = Ring::create();
    ASSERT_TRUE(made) << made.error().message();
    ring_ = *std::move(made);
  }
  template <class T>
  Result<T> run(Task<T> task) {
    return ring_->run(std::move(task));
  }
  /// Runs a task that must not fail.
  template <class T>
  T must(Task<T> task) {
    Result<T> result = run(std::move(task));
    EXPECT_TRUE(result) << result.error().message();
    if constexpr (!std::is_void_v<T>) return result ? *std::move(result) : T{};
  }
  /// Runs a task that must fail in this way.
  template <class T>
  void must_fail(Task<T> task, ErrorKind kind, const std::string& text = "") {
    const Result<T> result = run(std::move(task));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().kind(), kind) << result.error().message();
    EXPECT_NE(result.error().message().find(text), std::string::npos) << result.error().message();
    EXPECT_EQ(result.error().message().find('\n'), std::string::npos);
  }

 private:
  std::unique_ptr<Ring> ring_;
};

/// Runs a tool of LVM's, cryptsetup's, ... and expects it to succeed. Returns its output. No udev runs
/// in the guest, which these tools have to be told.
template <class... Argument>
std::string tool(const std::string& program, const Argument&... arguments) {
  const CommandResult result = run_command(
      Command{.argv = {program, std::string(arguments)...}, .env = {"DM_DISABLE_UDEV=1"}});
  EXPECT_TRUE(result.ok()) << program << ": " << result.err;
  return result.out;
}

/// An empty volume group on the first disk, made by LVM's own commands; gone after the test, and so is
/// every mapping: a test that leaves one fails.
class WithVolumeGroup : public WithRing {
 protected:
  void SetUp() override {
    WithRing::SetUp();
    // LVM's own commands would start modprobe, which is not there.
    for (const char* target : {"thin-pool", "snapshot", "crypt"}) must(dm_require_target(target));
    tool("vgcreate", "--yes", "--metadatasize", "2m", "vmtest", guest_disk('a'));
  }
  void TearDown() override {
    tool("vgremove", "--yes", "--force", "vmtest");
    tool("pvremove", "--yes", guest_disk('a'));
    EXPECT_EQ(tool("dmsetup", "ls"), "No devices found\n");
  }
  VolumeGroup group() { return *VolumeGroup::named("vmtest"); }
};

}  // namespace platter::test
