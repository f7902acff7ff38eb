// guest_disk.h, xml_text.h; against libvirt's own schema, where it is installed.
#include "src/provision/guest_disk.h"

#include <unistd.h>

#include <fstream>
#include <vector>

#include <gtest/gtest.h>

#include "src/provision/xml_text.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::provision {
namespace {

constexpr const char* kSchema = "/usr/share/libvirt/schemas/domain.rng";
constexpr const char* kUuid = "0fae2e3d-9a1b-4c5d-8e7f-0123456789ab";

GuestDisk simple() { return {.path = "/instances/a/disk", .format = "qcow2", .target = "vda"}; }

bool is_valid(const std::string& disk) {
  const test::TempDir folder;
  const std::string file = folder / "domain.xml";
  std::ofstream(file)
      << "<domain type='kvm'><name>x</name><memory>1024</memory><os><type>hvm</type></os>"
      << "<devices>" << disk << "</devices></domain>";
  return test::run_command("xmllint", "--noout", "--relaxng", kSchema, file).ok();
}

// What xmllint reads back of an attribute.
std::string attribute_of(const std::string& xml, const std::string& path) {
  const test::TempDir folder;
  std::ofstream(folder / "disk.xml") << xml;
  std::string out =
      test::run_command("xmllint", "--xpath", "string(" + path + ")", folder / "disk.xml").out;
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

TEST(GuestDisk, ReadsAsLibvirtHasIt) {
  GuestDisk disk = simple();
  disk.boot_order = 1;
  disk.discard = GuestDiscard::unmap;
  disk.io = GuestIo::native;
  disk.tune.read_bytes_sec = 1'000'000;
  disk.secret_uuid = kUuid;
  EXPECT_EQ(guest_disk_xml(disk).value(),
            "<disk type='file' device='disk'>\n"
            "  <driver name='qemu' type='qcow2' cache='none' io='native' discard='unmap'/>\n"
            "  <source file='/instances/a/disk'>\n"
            "    <encryption format='luks'>\n"
            "      <secret type='passphrase' uuid='0fae2e3d-9a1b-4c5d-8e7f-0123456789ab'/>\n"
            "    </encryption>\n"
            "  </source>\n"
            "  <target dev='vda' bus='virtio'/>\n"
            "  <iotune>\n"
            "    <read_bytes_sec>1000000</read_bytes_sec>\n"
            "  </iotune>\n"
            "  <boot order='1'/>\n"
            "</disk>\n");
}

class GuestDiskSchema : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_program("xmllint") || ::access(kSchema, R_OK) != 0) {
      GTEST_SKIP() << "needs libxml2-utils and libvirt0";
    }
  }
};

TEST_F(GuestDiskSchema, TellsRightFromWrong) {
  EXPECT_TRUE(is_valid(guest_disk_xml(simple()).value()));
  EXPECT_FALSE(is_valid("<disk type='file' device='disk'><source file='/x'/></disk>"));
  EXPECT_FALSE(
      is_valid("<disk type='file' device='disk'><driver name='qemu' cache='some'/>"
               "<source file='/x'/><target dev='vda'/></disk>"));
}

TEST_F(GuestDiskSchema, EveryWordIsOneOfLibvirts) {
  std::vector<GuestDisk> disks;
  for (int word = 0; word < 6; ++word) {
    disks.push_back(simple());
    disks.back().cache = static_cast<GuestCache>(word);
  }
  for (int word = 0; word < 3; ++word) {
    disks.push_back(simple());
    disks.back().discard = static_cast<GuestDiscard>(word);
  }
  for (int word = 0; word < 4; ++word) {
    disks.push_back(simple());
    disks.back().io = static_cast<GuestIo>(word);
  }
  for (int word = 0; word < 5; ++word) {
    disks.push_back(simple());
    disks.back().bus = static_cast<GuestBus>(word);
    disks.back().source = GuestSource::block;
    disks.back().target = "sdzz";
  }
  for (const GuestDevice device : {GuestDevice::cdrom, GuestDevice::lun}) {
    disks.push_back(simple());
    disks.back().device = device;
    disks.back().source = GuestSource::block;
    disks.back().bus = GuestBus::scsi;
    disks.back().address = {.controller = 1, .bus = 0, .target = 0, .unit = 99};
  }
  for (const char* format : {"raw", "qcow2", "luks", "vmdk", "vdi", "vpc", "qed"}) {
    disks.push_back(simple());
    disks.back().format = format;
  }
  disks.push_back(simple());
  disks.back().serial = kUuid;
  disks.back().read_only = true;
  for (const GuestDisk& disk : disks) {
    const auto xml = guest_disk_xml(disk);
    ASSERT_TRUE(xml) << xml.error().message();
    EXPECT_TRUE(is_valid(*xml)) << *xml;
  }
}

TEST_F(GuestDiskSchema, LimitsAreThoseOfFlavours) {
  GuestDisk disk = simple();
  for (const char* name : {"quota:disk_read_bytes_sec", "disk_write_bytes_sec",
                           "quota:disk_read_iops_sec", "quota:disk_write_iops_sec"}) {
    ASSERT_TRUE(set_quota(disk.tune, name, "10485760")) << name;
  }
  EXPECT_TRUE(is_valid(guest_disk_xml(disk).value()));
  EXPECT_NE(guest_disk_xml(disk)->find("<write_iops_sec>10485760</write_iops_sec>"),
            std::string::npos);
  disk.tune = {};
  ASSERT_TRUE(set_quota(disk.tune, "quota:disk_total_bytes_sec", "0"));
  ASSERT_TRUE(set_quota(disk.tune, "quota:disk_total_iops_sec", "9223372036854775807"));
  EXPECT_TRUE(is_valid(guest_disk_xml(disk).value()));
  ASSERT_TRUE(set_quota(disk.tune, "quota:disk_read_iops_sec", "1"));
  EXPECT_EQ(guest_disk_xml(disk).error().kind(), ErrorKind::invalid_argument);
}

TEST_F(GuestDiskSchema, APathIsAPathWhateverIsInIt) {
  for (const std::string& path : std::initializer_list<std::string>{
           "/a/'><evil/>", "/a/\"&amp;<b>", "/a b]]>c", "/\xc3\xa4/\xf0\x9f\x92\xbe", "/--><!--"}) {
    GuestDisk disk = simple();
    disk.path = path;
    const auto xml = guest_disk_xml(disk);
    ASSERT_TRUE(xml) << path;
    EXPECT_TRUE(is_valid(*xml)) << *xml;
    EXPECT_EQ(attribute_of(*xml, "/disk/source/@file"), path);
    EXPECT_EQ(attribute_of(*xml, "count(//*)"), "4");
  }
}

TEST(GuestDisk, WhatNobodyWouldTakeIsRefused) {
  const auto refused = [](auto change) {
    GuestDisk disk = simple();
    change(disk);
    const auto xml = guest_disk_xml(disk);
    return !xml && xml.error().kind() == ErrorKind::invalid_argument;
  };
  for (const char* path : {"", "a", "/a\nb", "/a\x01", "/a\xff", "/a\xc0\xaf", "/\xed\xa0\x80",
                           "/\xef\xbf\xbf", "/a\x7f", "/\xc2\x85", "/\xe2\x82"}) {
    EXPECT_TRUE(refused([&](GuestDisk& disk) { disk.path = path; })) << path;
  }
  for (const char* target : {"", "vd", "vda1", "vdaaaa", "xda", "vd'", "vdA"}) {
    EXPECT_TRUE(refused([&](GuestDisk& disk) { disk.target = target; })) << target;
  }
  for (const char* format : {"", "RAW", "raw'", "qcow3"}) {
    EXPECT_TRUE(refused([&](GuestDisk& disk) { disk.format = format; })) << format;
  }
  for (const char* uuid :
       {"", "0fae2e3d9a1b4c5d8e7f0123456789ab", "0fae2e3d-9a1b-4c5d-8e7f-0123456789a'"}) {
    EXPECT_TRUE(refused([&](GuestDisk& disk) { disk.secret_uuid = uuid; })) << uuid;
  }
  EXPECT_TRUE(refused([](GuestDisk& disk) { disk.serial = "a'b"; }));
  EXPECT_TRUE(refused([](GuestDisk& disk) { disk.boot_order = 0; }));
  EXPECT_TRUE(refused([](GuestDisk& disk) {
    disk.bus = GuestBus::scsi;
    disk.address = {.unit = 100};
  }));
  EXPECT_TRUE(refused([](GuestDisk& disk) { disk.address.emplace(); }));
  EXPECT_TRUE(refused([](GuestDisk& disk) { disk.device = GuestDevice::lun; }));
  EXPECT_TRUE(refused([](GuestDisk& disk) {
    disk.io = GuestIo::native;
    disk.cache = GuestCache::writeback;
  }));
}

TEST(GuestDisk, OtherQuotasAreRefused) {
  GuestIoTune tune;
  for (const char* name : {"", "quota:", "read_bytes_sec", "quota:read_bytes_sec", "quota:disk_x",
                           "quota:cpu_shares"}) {
    EXPECT_FALSE(set_quota(tune, name, "1")) << name;
  }
  for (const char* value : {"", "-1", "1 ", "1k", "9223372036854775808", "0x10"}) {
    EXPECT_FALSE(set_quota(tune, "quota:disk_read_iops_sec", value)) << value;
  }
}

}  // namespace
}  // namespace platter::provision
