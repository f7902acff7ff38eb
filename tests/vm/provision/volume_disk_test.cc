#include "src/provision/volume_disk.h"

#include <string>
#include <vector>

#include "crypto/dm_crypt.h"
#include "io/bytes.h"
#include "io/direct_file.h"
#include "tests/vm/vm_rig.h"

namespace platter::provision {
namespace {

using test::tool;

constexpr std::string_view kKey = "000102030405060708090a0b0c0d0e0f";
constexpr const char* kName = "0fae2e3d-9a1b-4c5d-8e7f-0123456789ab_disk__eph0";

KeyView key() { return std::as_bytes(std::span(kKey)); }

VolumeEncryption plain() { return {.how = PlainParameters{}, .key = key()}; }
VolumeEncryption luks(LuksVersion version) {
  LuksParameters parameters{.version = version, .pbkdf = "pbkdf2", .pbkdf_iterations = 1000};
  return {.how = std::move(parameters), .key = key()};
}

class VolumeDiskTest : public test::WithVolumeGroup {
 protected:
  VolumeDisks disks() { return VolumeDisks(group()); }

  VolumeDiskRequest request(std::uint64_t size = 12 * kMiB) {
    VolumeDiskRequest made{.volume = kName, .size = size};
    made.fill = [](std::string device) { return write_text(std::move(device), 0, "contents"); };
    return made;
  }
  static Task<void> write_text(std::string path, std::uint64_t at, std::string text) {
    const auto file = co_await DirectFile::open(path, FileOptions{.access = Access::read_write});
    Result<void> done = co_await file->write(at, std::as_bytes(std::span(text))).result();
    if (done) done = co_await file->flush().result();
    co_await file->close();
    co_await std::move(done);
  }
  static Task<std::string> read_text(std::string path, std::uint64_t at, std::size_t length) {
    const auto file = co_await DirectFile::open(path, FileOptions{});
    std::string text(length, 'x');
    auto done = co_await read_exactly(*file, at, std::as_writable_bytes(std::span(text))).result();
    co_await file->close();
    co_await std::move(done);
    co_return text;
  }
  std::string lvs() { return tool("lvs", "--noheadings", "-o", "lv_name", "vmtest"); }
  bool mapped() { return must(mapping_status(VolumeDisks::mapping_name(kName))).has_value(); }
  void expect_nothing() {
    EXPECT_EQ(lvs().find("0fae"), std::string::npos) << lvs();
    EXPECT_FALSE(mapped());
  }
  void make_pool(const std::string& size) {
    tool("lvcreate", "--yes", "--type", "thin-pool", "-L", size, "-n", "pool", "vmtest");
  }
  // Fills the group's free space with this byte, as somebody's disk that was removed did.
  void dirty_the_group() {
    must(group().create({.name = "old", .size = 32 * kMiB}));
    must(write_text("/dev/vmtest/old", 0, std::string(32 * kMiB, 'o')));
    must(group().remove("old"));
  }
};

TEST_F(VolumeDiskTest, ALinearOneHoldsItsContentsAndZeroes) {
  dirty_the_group();
  const VolumeDiskReport made = must(disks().create(request(11 * kMiB)));
  EXPECT_EQ(made.path, "/dev/vmtest/" + std::string(kName));
  EXPECT_EQ(made.size, 12 * kMiB);
  EXPECT_FALSE(made.overcommitted || made.removed_leftover);
  EXPECT_EQ(must(read_text(made.path, 0, 8)), "contents");
  EXPECT_EQ(must(read_text(made.path, 8, 12 * kMiB - 8)), std::string(12 * kMiB - 8, '\0'));
  must_fail(disks().create(request()), ErrorKind::already_exists, kName);
  EXPECT_EQ(must(read_text(made.path, 0, 8)), "contents");
  EXPECT_TRUE(must(disks().remove(kName, {}, nullptr)));
  EXPECT_FALSE(must(disks().remove(kName, {}, nullptr)));
  expect_nothing();
}

TEST_F(VolumeDiskTest, WhatARemovedOneHeldIsGone) {
  must(disks().create(request(32 * kMiB)));
  must(write_text("/dev/vmtest/" + std::string(kName), 0, std::string(32 * kMiB, 's')));
  must(disks().remove(kName, {.method = WipeMethod::zero}, nullptr));
  must(group().create({.name = "next", .size = 32 * kMiB}));
  EXPECT_EQ(must(read_text("/dev/vmtest/next", 0, 32 * kMiB)), std::string(32 * kMiB, '\0'));
  must(group().remove("next"));
}

TEST_F(VolumeDiskTest, EncryptedOnesOpenAgainAndHaveTheirSize) {
  for (const VolumeEncryption& how :
       {plain(), luks(LuksVersion::luks1), luks(LuksVersion::luks2)}) {
    VolumeDiskRequest wanted = request(8 * kMiB);
    wanted.encryption = how;
    const VolumeDiskReport made = must(disks().create(std::move(wanted)));
    EXPECT_EQ(made.path, "/dev/mapper/" + std::string(kName) + "-dmcrypt");
    EXPECT_GE(made.size, 8 * kMiB);
    EXPECT_EQ(must(read_text(made.path, 0, 8)), "contents");
    EXPECT_NE(must(read_text("/dev/vmtest/" + std::string(kName), 0, 8)), "contents");
    must(close_mapping(VolumeDisks::mapping_name(kName)));
    EXPECT_EQ(must(read_text(must(disks().map(kName, how)), 0, 8)), "contents");
    EXPECT_TRUE(must(disks().remove(kName, {.first = kMiB}, nullptr)));
    expect_nothing();
  }
}

TEST_F(VolumeDiskTest, CryptsetupOpensNovasKind) {
  VolumeDiskRequest wanted = request(8 * kMiB);
  wanted.encryption = plain();
  must(disks().create(std::move(wanted)));
  must(close_mapping(VolumeDisks::mapping_name(kName)));
  const auto opened = test::run_command(test::Command{
      .argv = {"cryptsetup", "open", "--type", "plain", "--cipher", "aes-xts-plain64", "--key-size",
               "512", "--key-file", "-", "/dev/vmtest/" + std::string(kName), "theirs"},
      .input = std::string(kKey),
      .env = {"DM_DISABLE_UDEV=1"}});
  ASSERT_TRUE(opened.ok()) << opened.err;
  EXPECT_EQ(must(read_text("/dev/mapper/theirs", 0, 8)), "contents");
  tool("cryptsetup", "close", "theirs");
  must(disks().remove(kName, {}, nullptr));
}

TEST_F(VolumeDiskTest, AThinOneMayPromiseMoreThanThereIs) {
  make_pool("16m");
  VolumeDiskRequest wanted = request(64 * kMiB);
  wanted.kind = platter::VolumeKind::thin;
  wanted.pool = "pool";
  const VolumeDiskReport made = must(disks().create(std::move(wanted)));
  EXPECT_TRUE(made.overcommitted);
  EXPECT_EQ(made.size, 64 * kMiB);
  EXPECT_EQ(must(read_text(made.path, 0, 8)), "contents");
  EXPECT_EQ(must(read_text(made.path, kMiB, kMiB)), std::string(kMiB, '\0'));
  EXPECT_TRUE(must(disks().remove(kName, {}, nullptr)));
  expect_nothing();
}

TEST_F(VolumeDiskTest, TooLittleSpaceIsToldBeforeAnythingIsMade) {
  VolumeDiskRequest wanted = request(std::uint64_t{1} << 40);
  wanted.after_step = [](VolumeStep) -> Result<void> {
    ADD_FAILURE() << "something was made";
    return {};
  };
  must_fail(disks().create(std::move(wanted)), ErrorKind::no_space, "'vmtest' has");
  expect_nothing();
}

TEST_F(VolumeDiskTest, AnErrorAfterAnyStepLeavesNothing) {
  make_pool("32m");
  std::vector<VolumeDiskRequest> kinds(4, request(8 * kMiB));
  kinds[1].encryption = plain();
  kinds[2].encryption = luks(LuksVersion::luks2);
  kinds[3].kind = platter::VolumeKind::thin;
  kinds[3].pool = "pool";
  int failures = 0;
  for (const VolumeDiskRequest& kind : kinds) {
    for (const VolumeStep bad : {VolumeStep::created, VolumeStep::formatted, VolumeStep::mapped,
                                 VolumeStep::cleared, VolumeStep::filled, VolumeStep::named}) {
      VolumeDiskRequest wanted = kind;
      bool reached = false;
      wanted.after_step = [&reached, bad](VolumeStep step) -> Result<void> {
        if (step != bad) return {};
        reached = true;
        return fail(ErrorKind::io, "injected");
      };
      const auto made = run(disks().create(std::move(wanted)));
      EXPECT_EQ(made.has_value(), !reached);
      if (made) {
        must(disks().remove(kName, {.method = WipeMethod::none}, nullptr));
      } else {
        EXPECT_EQ(made.error().message(), "injected");
        ++failures;
      }
      expect_nothing();
    }
  }
  EXPECT_EQ(failures, 4 + 4 + 5 + 4);
}

TEST_F(VolumeDiskTest, AFillThatFailsIsUndoneAndWiped) {
  VolumeDiskRequest wanted = request(32 * kMiB);
  wanted.fill = [](std::string device) -> Task<void> {
    co_await write_text(device, 20 * kMiB, "secret");
    co_await fail(ErrorKind::wrong_digest, "not what was expected");
  };
  must_fail(disks().create(std::move(wanted)), ErrorKind::wrong_digest, "not what was expected");
  expect_nothing();
  must(group().create({.name = "next", .size = 32 * kMiB}));
  EXPECT_EQ(must(read_text("/dev/vmtest/next", 20 * kMiB, 6)), std::string(6, '\0'));
  must(group().remove("next"));
}

TEST_F(VolumeDiskTest, WhatAKillLeftIsRemovedByTheNextOne) {
  const std::string partial = std::string(kName) + ".partial";
  must(group().create({.name = partial, .size = 8 * kMiB}));
  must(open_plain("/dev/vmtest/" + partial, VolumeDisks::mapping_name(kName), {}, key()));
  const VolumeDiskReport made = must(disks().create(request()));
  EXPECT_TRUE(made.removed_leftover);
  EXPECT_EQ(lvs().find("partial"), std::string::npos);
  must(group().create({.name = partial, .size = 8 * kMiB}));
  EXPECT_TRUE(must(disks().remove(kName, {}, nullptr)));
  expect_nothing();
}

TEST_F(VolumeDiskTest, OneInUseStays) {
  const VolumeDiskReport made = must(disks().create(request()));
  tool("mkfs.ext4", "-q", made.path);
  FileOptions options{.access = Access::read_write};
  options.exclusive_device = true;
  const auto user = must(DirectFile::open(made.path, std::move(options)));
  must_fail(disks().remove(kName, {}, nullptr), ErrorKind::in_use);
  must(user->close());
  EXPECT_NE(tool("blkid", "-p", made.path).find("ext4"), std::string::npos);
  must(disks().remove(kName, {}, nullptr));
}

TEST_F(VolumeDiskTest, ACancelledOneMakesNothing) {
  CancelToken cancel;
  cancel.request();
  VolumeDiskRequest wanted = request();
  wanted.cancel = &cancel;
  must_fail(disks().create(std::move(wanted)), ErrorKind::cancelled);
  expect_nothing();
}

TEST_F(VolumeDiskTest, RequestsThatMakeNoSenseAreRefused) {
  VolumeDiskRequest wanted = request(0);
  must_fail(disks().create(wanted), ErrorKind::invalid_argument);
  wanted = request();
  wanted.kind = platter::VolumeKind::thin;
  must_fail(disks().create(wanted), ErrorKind::invalid_argument, "pool");
  wanted.kind = platter::VolumeKind::thin_pool;
  must_fail(disks().create(wanted), ErrorKind::invalid_argument, "linear or thin");
  wanted = request();
  wanted.encryption = VolumeEncryption{.how = PlainParameters{}, .key = {}};
  must_fail(disks().create(wanted), ErrorKind::invalid_argument, "key");
  expect_nothing();
}

}  // namespace
}  // namespace platter::provision
