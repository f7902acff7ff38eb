#include "crypto/volume_group.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <clocale>
#include <map>

#include "crypto/locked_memory.h"
#include "io/direct_file.h"
#include "io/task_group.h"
#include "tests/vm/vm_rig.h"

namespace platter {
namespace {

using test::tool;

constexpr std::uint64_t kMiB = 1 << 20;

class VolumeGroupTest : public test::WithVolumeGroup {
 protected:
  VolumeInfo make(const std::string& name, std::uint64_t size) {
    return must(group().create({.name = name, .size = size}));
  }
  VolumeInfo make_pool() {
    return must(group().create({.name = "pool", .kind = VolumeKind::thin_pool, .size = 64 * kMiB}));
  }
  std::string lvs(const std::string& fields, const std::string& volume) {
    std::string line =
        tool("lvs", "--noheadings", "--units", "b", "--nosuffix", "-o", fields, "vmtest/" + volume);
    while (line.ends_with('\n') || line.ends_with(' ')) line.pop_back();
    return line.substr(line.find_first_not_of(' '));
  }
};

TEST_F(VolumeGroupTest, AGroupTellsItsSpaceAsLvmDoes) {
  const VolumeGroupInfo info = must(group().info());
  EXPECT_EQ(info.name, "vmtest");
  EXPECT_EQ(info.extent_size, 4 * kMiB);
  const std::string free =
      tool("vgs", "--noheadings", "--units", "b", "--nosuffix", "-o", "vg_free", "vmtest");
  EXPECT_EQ(info.free, std::stoull(free));
  EXPECT_EQ(info.size, info.free);
  make("a", 8 * kMiB);
  EXPECT_EQ(must(group().info()).free, info.free - 8 * kMiB);
  const auto all = must(VolumeGroup::all());
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].uuid, info.uuid);
}

TEST_F(VolumeGroupTest, ALinearVolumeIsABlockDeviceAtOnce) {
  const VolumeInfo made = make("disk", 10 * kMiB + 1);
  EXPECT_EQ(made.kind, VolumeKind::linear);
  EXPECT_EQ(made.size, 12 * kMiB);  // whole extents
  EXPECT_TRUE(made.active);
  struct stat status{};
  ASSERT_EQ(::stat("/dev/vmtest/disk", &status), 0);
  EXPECT_TRUE(S_ISBLK(status.st_mode));
  EXPECT_EQ(lvs("lv_size,segtype", "disk"), "12582912 linear");
}

TEST_F(VolumeGroupTest, WhatLvmMadeIsRead) {
  tool("lvcreate", "-y", "-n", "linear", "-L", "8m", "vmtest");
  tool("lvcreate", "-y", "-s", "-n", "cow", "-L", "4m", "vmtest/linear");
  tool("lvcreate", "-y", "--type", "thin-pool", "-n", "pool", "-L", "32m", "vmtest");
  tool("lvcreate", "-y", "--type", "thin", "-n", "thin", "-V", "1g", "--thinpool", "pool",
       "vmtest");
  tool("lvcreate", "-y", "-s", "-n", "thinsnap", "vmtest/thin");
  std::map<std::string, VolumeInfo> found;
  for (VolumeInfo& volume : must(group().volumes())) found[volume.name] = volume;
  ASSERT_EQ(found.size(), 5U);
  EXPECT_EQ(found["linear"].kind, VolumeKind::linear);
  EXPECT_EQ(found["cow"].kind, VolumeKind::snapshot);
  EXPECT_EQ(found["cow"].origin, "linear");
  EXPECT_TRUE(found["cow"].data_percent.has_value());
  EXPECT_EQ(found["pool"].kind, VolumeKind::thin_pool);
  EXPECT_TRUE(found["pool"].metadata_percent.has_value());
  EXPECT_EQ(found["thin"].kind, VolumeKind::thin);
  EXPECT_EQ(found["thin"].pool, "pool");
  EXPECT_EQ(found["thin"].size, 1024 * kMiB);
  EXPECT_EQ(found["thinsnap"].kind, VolumeKind::thin);
  EXPECT_EQ(found["thinsnap"].origin, "thin");
  EXPECT_FALSE(found["thinsnap"].active);  // LVM's default for thin snapshots
}

TEST_F(VolumeGroupTest, AVolumeOfSeveralPiecesIsOneVolume) {
  make("a", 4 * kMiB);
  make("b", 4 * kMiB);
  must(group().extend("a", 16 * kMiB));  // cannot go on where b lies
  EXPECT_EQ(must(group().volumes()).size(), 2U);
  EXPECT_EQ(must(group().volume("a")).kind, VolumeKind::linear);
}

TEST_F(VolumeGroupTest, WhatIsMadeHereLvmReads) {
  make("linear", 8 * kMiB);
  must(group().create(
      {.name = "cow", .kind = VolumeKind::snapshot, .size = 4 * kMiB, .origin = "linear"}));
  make_pool();
  must(group().create(
      {.name = "thin", .kind = VolumeKind::thin, .size = 1024 * kMiB, .pool = "pool"}));
  const VolumeInfo snapshot =
      must(group().create({.name = "thinsnap", .kind = VolumeKind::thin, .origin = "thin"}));
  EXPECT_TRUE(snapshot.active);
  EXPECT_EQ(lvs("segtype,lv_attr", "linear"), "linear owi-a-s---");
  EXPECT_EQ(lvs("origin,lv_size", "cow"), "linear 4194304");
  EXPECT_EQ(lvs("segtype,lv_size", "pool"), "thin-pool 67108864");
  EXPECT_EQ(lvs("segtype,pool_lv,lv_size", "thin"), "thin pool 1073741824");
  EXPECT_EQ(lvs("segtype,pool_lv,origin", "thinsnap"), "thin pool thin");
}

TEST_F(VolumeGroupTest, ASnapshotKeepsWhatTheOriginHeld) {
  make("disk", 8 * kMiB);
  const auto fill = [](std::string path, std::byte value) -> Task<void> {
    auto file = co_await DirectFile::open(path, {.access = Access::read_write});
    const std::vector<std::byte> data(kMiB, value);
    co_await file->write(0, data);
    co_await file->flush();
    co_await file->close();
  };
  const auto first_byte = [](std::string path) -> Task<std::byte> {
    auto file = co_await DirectFile::open(path, {});
    std::vector<std::byte> data(4096);
    co_await read_exactly(*file, 0, data);
    co_await file->close();
    co_return data[0];
  };
  must(fill("/dev/vmtest/disk", std::byte{1}));
  must(group().create(
      {.name = "snap", .kind = VolumeKind::snapshot, .size = 8 * kMiB, .origin = "disk"}));
  must(fill("/dev/vmtest/disk", std::byte{2}));
  EXPECT_EQ(must(first_byte("/dev/vmtest/snap")), std::byte{1});
  EXPECT_EQ(must(first_byte("/dev/vmtest/disk")), std::byte{2});
}

TEST_F(VolumeGroupTest, EachKindGrows) {
  make("linear", 4 * kMiB);
  make_pool();
  must(
      group().create({.name = "thin", .kind = VolumeKind::thin, .size = 8 * kMiB, .pool = "pool"}));
  EXPECT_EQ(must(group().extend("linear", 9 * kMiB)).size, 12 * kMiB);
  EXPECT_EQ(must(group().extend("pool", 128 * kMiB)).size, 128 * kMiB);
  EXPECT_EQ(must(group().extend("thin", 4096 * kMiB)).size, 4096 * kMiB);
  EXPECT_EQ(std::stoull(tool("blockdev", "--getsize64", "/dev/vmtest/thin")), 4096 * kMiB);
}

TEST_F(VolumeGroupTest, AVolumeDoesNotShrinkOrStay) {
  make("a", 8 * kMiB);
  must_fail(group().extend("a", 4 * kMiB), ErrorKind::invalid_argument, "not larger than");
  must_fail(group().extend("a", 8 * kMiB), ErrorKind::invalid_argument, "existing size");
}

TEST_F(VolumeGroupTest, AnActiveVolumeIsRenamedWithItsDevice) {
  make("old", 4 * kMiB);
  must(group().rename("old", "new"));
  struct stat status{};
  EXPECT_EQ(::stat("/dev/vmtest/new", &status), 0);
  EXPECT_NE(::stat("/dev/vmtest/old", &status), 0);
  make("other", 4 * kMiB);
  must_fail(group().rename("new", "other"), ErrorKind::already_exists, "already exists");
}

TEST_F(VolumeGroupTest, WhatIsOpenIsNotRemoved) {
  make("a", 4 * kMiB);
  auto file = must(DirectFile::open("/dev/vmtest/a", {}));
  must_fail(group().remove("a"), ErrorKind::in_use, "in use");
  must(file->close());
  must(group().remove("a"));
  must_fail(group().volume("a"), ErrorKind::not_found, "vmtest/a");
}

TEST_F(VolumeGroupTest, WhatOthersNeedIsNotRemoved) {
  make("origin", 4 * kMiB);
  must(group().create(
      {.name = "snap", .kind = VolumeKind::snapshot, .size = 4 * kMiB, .origin = "origin"}));
  must_fail(group().remove("origin"), ErrorKind::in_use, "is needed by: snap");
  make_pool();
  must(
      group().create({.name = "thin", .kind = VolumeKind::thin, .size = 8 * kMiB, .pool = "pool"}));
  must_fail(group().remove("pool"), ErrorKind::in_use, "is needed by: thin");
  EXPECT_EQ(must(group().volumes()).size(), 4U);
  must(group().remove("snap"));
  must(group().remove("origin"));
}

TEST_F(VolumeGroupTest, AThinSnapshotOutlivesItsOrigin) {
  make_pool();
  must(
      group().create({.name = "thin", .kind = VolumeKind::thin, .size = 8 * kMiB, .pool = "pool"}));
  must(group().create({.name = "snap", .kind = VolumeKind::thin, .origin = "thin"}));
  must(group().remove("thin"));
  EXPECT_TRUE(must(group().volume("snap")).active);
}

TEST_F(VolumeGroupTest, AFullGroupIsNoSpace) {
  const std::uint64_t free = must(group().info()).free;
  must_fail(group().create({.name = "big", .size = free + 1}), ErrorKind::no_space, "nsufficient");
  make("all", free);
  EXPECT_EQ(must(group().info()).free, 0U);
  must_fail(group().create({.name = "more", .size = 1}), ErrorKind::no_space);
  must_fail(group().extend("all", free + 1), ErrorKind::no_space);
  must_fail(group().create(
                {.name = "s", .kind = VolumeKind::snapshot, .size = 4 * kMiB, .origin = "all"}),
            ErrorKind::no_space);
  must_fail(group().create({.name = "p", .kind = VolumeKind::thin_pool, .size = 32 * kMiB}),
            ErrorKind::no_space);
  EXPECT_EQ(must(group().volumes()).size(), 1U);
}

TEST_F(VolumeGroupTest, ErrorsHaveAKindAndLvmsWords) {
  make("a", 4 * kMiB);
  must_fail(group().create({.name = "a", .size = 1}), ErrorKind::already_exists, "already exists");
  must_fail(group().remove("nope"), ErrorKind::not_found, "vmtest/nope");
  must_fail(VolumeGroup::named("nogroup")->volumes(), ErrorKind::not_found,
            "\"nogroup\" not found");
  must_fail(VolumeGroup::named("nogroup")->info(), ErrorKind::not_found, "nogroup");
  must_fail(group().create({.name = "snapshot1", .size = 1}), ErrorKind::invalid_argument,
            "reserved");
  must_fail(group().create({.name = "x_tmeta", .size = 1}), ErrorKind::invalid_argument,
            "reserved");
  must_fail(group().create({.name = "t", .kind = VolumeKind::thin, .size = 1, .pool = "none"}),
            ErrorKind::not_found);
  must_fail(group().create({.name = "t", .kind = VolumeKind::thin, .size = 1, .pool = "a"}),
            ErrorKind::invalid_argument);
}

TEST_F(VolumeGroupTest, NamesThatAttackNeverReachLvm) {
  for (const char* name : {"", ".", "..", "-n", "--help", "a b", "a'b", "a\"b", "#a", "a#", "a/b",
                           "../a", "a\nb", "a;b", "$(a)", "@tag", "a\\b", "ä"}) {
    must_fail(group().create({.name = name, .size = 1}), ErrorKind::invalid_argument,
              "Invalid volume name");
    must_fail(group().remove(name), ErrorKind::invalid_argument, "Invalid volume name");
    EXPECT_FALSE(VolumeGroup::named(name));
  }
  must_fail(group().create({.name = std::string("a\0b", 3), .size = 1}),
            ErrorKind::invalid_argument);
  must_fail(group().create({.name = std::string(128, 'a'), .size = 1}), ErrorKind::invalid_argument,
            "longer than 127");
  EXPECT_TRUE(must(group().volumes()).empty());
}

TEST_F(VolumeGroupTest, TheLongestAndStrangestNameWorks) {
  // Group, volume and suffixes share device-mapper's 127 bytes.
  for (const std::string& name : {std::string("a+_.-b--c"), std::string(100, 'n')}) {
    make(name, 4 * kMiB);
    struct stat status{};
    EXPECT_EQ(::stat(group().path_of(name).c_str(), &status), 0);
    must(group().remove(name));
  }
}

TEST_F(VolumeGroupTest, AVolumeIsActivatedAndDeactivated) {
  must(group().create({.name = "a", .size = 4 * kMiB, .activate = false}));
  EXPECT_FALSE(must(group().volume("a")).active);
  must(group().activate("a"));
  auto file = must(DirectFile::open("/dev/vmtest/a", {}));
  must_fail(group().deactivate("a"), ErrorKind::in_use, "in use");
  must(file->close());
  must(group().deactivate("a"));
  EXPECT_FALSE(must(group().volume("a")).active);
}

mode_t umask_now() {
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return mask;
}

TEST_F(VolumeGroupTest, LvmLeavesUmaskLocaleAndLockedMemoryAsTheyWere) {
  ::umask(027);
  ASSERT_NE(std::setlocale(LC_ALL, "C"), nullptr);
  const auto anonymous = [](int fd, int flags) {
    void* const memory = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, flags, fd, 0);
    EXPECT_EQ(::syscall(SYS_mlock, memory, 8192), 0);  // AddressSanitizer makes mlock() do nothing
    return memory;
  };
  void* const heap = anonymous(-1, MAP_PRIVATE | MAP_ANONYMOUS);
  const UniqueFd secret(::memfd_create("secrets", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(secret.get(), 8192), 0);
  void* const hidden = anonymous(secret.get(), MAP_SHARED);
  const auto before = locked_ranges();
  ASSERT_GE(before.size(), 2U);
  make("a", 8 * kMiB);
  must(
      group().create({.name = "s", .kind = VolumeKind::snapshot, .size = 4 * kMiB, .origin = "a"}));
  must(group().remove("s"));
  EXPECT_EQ(locked_ranges(), before);
  EXPECT_EQ(umask_now(), 027U);
  EXPECT_STREQ(std::setlocale(LC_ALL, nullptr), "C");
  ::munmap(heap, 8192);
  ::munmap(hidden, 8192);
}

TEST_F(VolumeGroupTest, TwoHundredCyclesLeaveNothing) {
  must(group().volumes());  // the library is loaded
  const std::size_t descriptors_before = test::open_descriptors();
  const auto locked_before = locked_ranges();
  const std::uint64_t free = must(group().info()).free;
  for (int i = 0; i < 200 && !HasFailure(); ++i) {
    must(group().create({.name = "a", .size = 4 * kMiB, .activate = i % 8 == 0}));
    if (i % 8 == 0) {
      must(group().create(
          {.name = "s", .kind = VolumeKind::snapshot, .size = 4 * kMiB, .origin = "a"}));
      must(group().remove("s"));
    }
    must(group().remove("a"));
  }
  EXPECT_EQ(must(group().info()).free, free);
  EXPECT_EQ(tool("dmsetup", "ls"), "No devices found\n");
  EXPECT_EQ(locked_ranges(), locked_before);
  EXPECT_EQ(test::open_descriptors(), descriptors_before);
}

TEST_F(VolumeGroupTest, ManyAtOnceComeOneAfterTheOther) {
  const auto many = [](VolumeGroup group) -> Task<void> {
    TaskGroup tasks(8);
    for (int i = 0; i < 8; ++i) {
      auto one = [](VolumeGroup where, std::string name) -> Task<void> {
        co_await where.create({.name = name, .size = 4 * kMiB});
        co_await where.remove(name);
      };
      co_await tasks.spawn(one(group, "v" + std::to_string(i)));
    }
    co_await tasks.join();
  };
  must(many(group()));
  EXPECT_TRUE(must(group().volumes()).empty());
}

TEST_F(VolumeGroupTest, ADeviceThatDoesNotComeIsAnError) {
  must_fail(wait_for_device("/dev/vmtest/never", 250, 250, std::chrono::milliseconds(30)),
            ErrorKind::not_found, "within 30 ms");
}

}  // namespace
}  // namespace platter
