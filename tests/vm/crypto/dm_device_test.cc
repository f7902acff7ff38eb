#include "crypto/dm_device.h"

#include "crypto/wipe.h"
#include "io/direct_file.h"
#include "tests/vm/vm_rig.h"

namespace platter {
namespace {

using test::guest_disk;
using test::tool;

constexpr std::uint64_t kSectors = 4096;  // 2 MiB

Task<std::vector<std::byte>> read_all(std::string path) {
  auto file = co_await DirectFile::open(path, {});
  std::vector<std::byte> data(co_await file->size());
  Result<void> done = co_await read_exactly(*file, 0, data).result();
  co_await file->close();
  co_await std::move(done);
  co_return data;
}

Task<void> fill(std::string path, std::byte value) {
  auto file = co_await DirectFile::open(path, {.access = Access::read_write});
  const std::vector<std::byte> data(co_await file->size(), value);
  Result<void> done = co_await file->write(0, data).result();
  if (done) done = co_await file->flush().result();
  co_await file->close();
  co_await std::move(done);
}

Task<void> wipe_path(std::string path, WipePolicy policy) {
  auto file = co_await DirectFile::open(path, {.access = Access::read_write});
  Result<void> done = co_await wipe(*file, policy).result();
  co_await file->close();
  co_await std::move(done);
}

class DmDeviceTest : public test::WithRing {
 protected:
  void SetUp() override {
    test::WithRing::SetUp();
    must(dm_require_target("flakey"));
  }
  void TearDown() override { EXPECT_EQ(tool("dmsetup", "ls"), "No devices found\n"); }
  std::vector<DmTarget> linear(std::uint64_t at = 2048) {
    return {{0, kSectors, "linear", guest_disk('c') + " " + std::to_string(at)}};
  }
};

TEST_F(DmDeviceTest, ADeviceIsMadeSeenAndRemoved) {
  must(dm_create({.name = "t", .uuid = "TEST-1", .table = linear()}));
  EXPECT_EQ(must(dm_list()), std::vector<std::string>{"t"});
  const auto info = must(dm_info("t"));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->uuid, "TEST-1");
  EXPECT_EQ(info->open_count, 0U);
  const auto status = must(dm_status("t"));
  ASSERT_EQ(status.size(), 1U);
  EXPECT_EQ(status[0].type, "linear");
  EXPECT_EQ(status[0].sector_count, kSectors);
  EXPECT_EQ(must(read_all("/dev/mapper/t")).size(), kSectors * 512);
  must_fail(dm_create({.name = "t", .table = linear()}), ErrorKind::already_exists, "it exists");
  must(dm_remove("t", DmRemoval::retried));
  EXPECT_FALSE(must(dm_info("t")));
  must_fail(dm_remove("t", DmRemoval::now), ErrorKind::not_found, "'t'");
  must_fail(dm_status("t"), ErrorKind::not_found);
  EXPECT_TRUE(must(dm_list()).empty());
}

TEST_F(DmDeviceTest, ATableIsReplacedBelowAnOpenDevice) {
  must(dm_create({.name = "t", .table = linear()}));
  auto file = must(DirectFile::open("/dev/mapper/t", {}));
  must_fail(dm_remove("t", DmRemoval::now), ErrorKind::in_use);
  must(dm_replace_table("t", {{0, kSectors, "error", ""}}));
  const auto read = [](File& from) -> Task<void> {
    std::vector<std::byte> data(4096);
    co_await read_exactly(from, 0, data);
  };
  must_fail(read(*file), ErrorKind::io, "Input/output error");
  must(file->close());
  must(dm_remove("t", DmRemoval::retried));
}

TEST_F(DmDeviceTest, ATargetThatIsNotThereIsUnsupported) {
  must_fail(dm_require_target("nosuch"), ErrorKind::unsupported,
            "no device-mapper target 'nosuch'");
  must_fail(dm_create({.name = "t", .table = {{0, 8, "nosuch", ""}}}), ErrorKind::unsupported);
  must_fail(dm_create({.name = "t", .table = {{0, 8, "linear", "/dev/none 0"}}}),
            ErrorKind::not_found);
  must_fail(dm_create({.name = "control", .table = linear()}), ErrorKind::invalid_argument);
}

TEST_F(DmDeviceTest, EveryWayToWipeReachesTheLastByte) {
  must(dm_create({.name = "t", .table = linear()}));
  const std::vector<std::byte> zeroes(kSectors * 512);
  must(fill("/dev/mapper/t", std::byte{7}));
  must(wipe_path("/dev/mapper/t", {.method = WipeMethod::none}));
  EXPECT_EQ(must(read_all("/dev/mapper/t")).back(), std::byte{7});
  must(wipe_path("/dev/mapper/t", {.method = WipeMethod::zero, .first = 4096 + 512}));
  const auto part = must(read_all("/dev/mapper/t"));
  EXPECT_EQ(part[4096 + 511], std::byte{0});
  EXPECT_EQ(part[4096 + 512], std::byte{7});
  must(wipe_path("/dev/mapper/t", {.method = WipeMethod::zero}));
  EXPECT_TRUE(must(read_all("/dev/mapper/t")) == zeroes);
  must(wipe_path("/dev/mapper/t", {.method = WipeMethod::random, .passes = 2}));
  const auto random = must(read_all("/dev/mapper/t"));
  for (std::size_t at = 0; at < random.size(); at += 4096) {
    EXPECT_TRUE(std::any_of(random.begin() + at, random.begin() + at + 4096, [](std::byte b) {
      return b != std::byte{0} && b != std::byte{7};
    })) << at;
  }
  must(dm_remove("t", DmRemoval::retried));
}

TEST_F(DmDeviceTest, ADiscardThatTheDeviceCannotDoIsAnError) {
  // The crypt target passes discards on only when it is told to.
  const std::string key(128, '1');
  must(dm_create({.name = "t",
                  .table = {{0, kSectors, "crypt",
                             "aes-xts-plain64 " + key + " 0 " + guest_disk('c') + " 0"}}}));
  must_fail(wipe_path("/dev/mapper/t", {.method = WipeMethod::discard}), ErrorKind::unsupported,
            "does not support it");
  must(dm_remove("t", DmRemoval::retried));
}

TEST_F(DmDeviceTest, ADeviceThatFailsIsAnErrorWithItsPlace) {
  const std::string disk = guest_disk('c');
  must(dm_create({.name = "t",
                  .table = {{0, 2048, "linear", disk + " 0"},
                            {2048, 2048, "error", ""},
                            {4096, 2048, "linear", disk + " 4096"}}}));
  for (const WipeMethod method : {WipeMethod::zero, WipeMethod::random}) {
    must_fail(wipe_path("/dev/mapper/t", {.method = method}), ErrorKind::io, "/dev/mapper/t");
  }
  must_fail(read_all("/dev/mapper/t"), ErrorKind::io);
  must(dm_remove("t", DmRemoval::retried));
  // Reads work, writes fail.
  must(dm_create(
      {.name = "t", .table = {{0, kSectors, "flakey", disk + " 0 0 60 1 error_writes"}}}));
  must(read_all("/dev/mapper/t"));
  must_fail(fill("/dev/mapper/t", std::byte{1}), ErrorKind::io);
  must_fail(wipe_path("/dev/mapper/t", {}), ErrorKind::io);
  must(dm_remove("t", DmRemoval::retried));
}

}  // namespace
}  // namespace platter
