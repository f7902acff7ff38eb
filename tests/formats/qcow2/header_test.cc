#include "formats/qcow2/header.h"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/format.h"

namespace platter::qcow2 {
namespace {

// The header of an empty 1 GiB image as qemu-img makes it, field by field.
DiskHeader good_header() {
  DiskHeader header{};
  header.magic = kMagic;
  header.version = 3;
  header.cluster_bits = 16;
  header.size = std::uint64_t{1} << 30;
  header.l1_size = 2;
  header.l1_table_offset = 0x30000;
  header.refcount_table_offset = 0x10000;
  header.refcount_table_clusters = 1;
  header.refcount_order = 4;
  header.header_length = 112;
  return header;
}

struct Area {
  std::vector<std::byte> bytes = std::vector<std::byte>(65536);
  explicit Area(const DiskHeader& header) { std::memcpy(bytes.data(), &header, sizeof header); }
  std::size_t end = sizeof(DiskHeader);
  void add(std::uint32_t type, std::string_view data) {
    DiskExtension extension{};
    extension.type = type;
    extension.length = static_cast<std::uint32_t>(data.size());
    std::memcpy(bytes.data() + end, &extension, sizeof extension);
    std::memcpy(bytes.data() + end + sizeof extension, data.data(), data.size());
    end += sizeof extension + (data.size() + 7) / 8 * 8;
  }
};

Result<Header> parse(const DiskHeader& header) { return parse_header(Area(header).bytes); }

// The message of the error that a header is refused with.
std::string refusal(const DiskHeader& header) {
  const Result<Header> parsed = parse(header);
  return parsed ? "accepted" : parsed.error().message();
}

TEST(Qcow2Header, AGoodOneIsReadFieldByField) {
  const Result<Header> header = parse(good_header());
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->version, 3U);
  EXPECT_EQ(header->cluster_size(), 65536U);
  EXPECT_EQ(header->size, std::uint64_t{1} << 30);
  EXPECT_EQ(header->l1_size, 2U);
  EXPECT_EQ(header->l2_bits(), 13U);
  EXPECT_FALSE(header->backing_file);
}

TEST(Qcow2Header, Version2HasNoFieldsPastTheSnapshots) {
  DiskHeader disk = good_header();
  disk.version = 2;
  disk.refcount_order = 99;
  disk.incompatible_features = ~std::uint64_t{0};
  disk.header_length = 0;
  // What stands where version 3 has fields is a header extension here: an end mark.
  std::memset(reinterpret_cast<char*>(&disk) + kVersion2HeaderLength, 0,
              sizeof disk - kVersion2HeaderLength);
  const Result<Header> header = parse(disk);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->refcount_order, 4U);
  EXPECT_EQ(header->incompatible_features, 0U);
}

TEST(Qcow2Header, EveryFieldOutOfBoundsIsRefusedByName) {
  struct Case {
    void (*change)(DiskHeader&);
    const char* words;
  };
  const Case cases[] = {
      {[](DiskHeader& h) { h.magic = 1; }, "not in qcow2 format"},
      {[](DiskHeader& h) { h.version = 4; }, "Unsupported qcow2 version 4"},
      {[](DiskHeader& h) { h.cluster_bits = 8; }, "Unsupported cluster size: 2^8"},
      {[](DiskHeader& h) { h.cluster_bits = 22; }, "Unsupported cluster size: 2^22"},
      {[](DiskHeader& h) { h.header_length = 100; }, "header too short"},
      {[](DiskHeader& h) { h.header_length = 65537; }, "exceeds cluster size"},
      {[](DiskHeader& h) { h.backing_file_offset = 65537; }, "Invalid backing file offset"},
      {[](DiskHeader& h) {
         h.backing_file_offset = 1024;
         h.backing_file_size = 1024;
       },
       "Backing file name too long"},
      {[](DiskHeader& h) {
         h.backing_file_offset = 65530;
         h.backing_file_size = 7;
       },
       "Backing file name too long"},
      {[](DiskHeader& h) { h.incompatible_features = std::uint64_t{1} << 60; },
       "Unknown incompatible feature: 1000000000000000"},
      {[](DiskHeader& h) { h.compression_type = 1; }, "feature bit must be set"},
      {[](DiskHeader& h) { h.incompatible_features = 8; }, "must not be set"},
      {[](DiskHeader& h) {
         h.incompatible_features = 8;
         h.compression_type = 2;
       },
       "unknown compression type: 2"},
      {[](DiskHeader& h) {
         h.incompatible_features = 16;
         h.cluster_bits = 13;
         h.size = 0;
       },
       "Extended L2"},
      {[](DiskHeader& h) { h.refcount_order = 7; }, "may not exceed 64 bits"},
      {[](DiskHeader& h) { h.crypt_method = 3; }, "Unsupported encryption method 3"},
      {[](DiskHeader& h) { h.size = ~std::uint64_t{0}; }, "Image size is too large"},
      {[](DiskHeader& h) { h.l1_size = 1; }, "L1 table is too small"},
      {[](DiskHeader& h) { h.l1_size = 0xffffffff; }, "Active L1 table too large"},
      {[](DiskHeader& h) { h.l1_table_offset = 1; }, "Active L1 table offset invalid"},
      {[](DiskHeader& h) { h.l1_table_offset = 0xffffffffffff0000; }, "Active L1 table offset"},
      {[](DiskHeader& h) { h.refcount_table_clusters = 129; }, "Reference count table too large"},
      {[](DiskHeader& h) { h.refcount_table_offset = 512; }, "Reference count table offset"},
      {[](DiskHeader& h) { h.nb_snapshots = 65537; }, "Snapshot table too large"},
      {[](DiskHeader& h) {
         h.nb_snapshots = 1;
         h.snapshots_offset = 100;
       },
       "Snapshot table offset invalid"},
  };
  for (const Case& test : cases) {
    DiskHeader header = good_header();
    test.change(header);
    EXPECT_NE(refusal(header).find(test.words), std::string::npos)
        << test.words << ": " << refusal(header);
  }
}

TEST(Qcow2Header, ExtensionsAreReadAndUnknownOnesKept) {
  Area area(good_header());
  area.add(kExtensionBackingFormat, "raw");
  area.add(0x12345678, "abc");
  area.add(kExtensionDataFile, "data.raw");
  const Result<Header> header = parse_header(area.bytes);
  ASSERT_TRUE(header) << header.error().message();
  EXPECT_EQ(header->backing_format, "raw");
  EXPECT_EQ(header->data_file, "data.raw");
  ASSERT_EQ(header->unknown_extensions.size(), 1U);
  EXPECT_EQ(header->unknown_extensions[0].type, 0x12345678U);
  EXPECT_EQ(header->unknown_extensions[0].data.size(), 3U);
}

TEST(Qcow2Header, AnUnknownFeatureIsNamedAsTheImageNamesIt) {
  DiskHeader disk = good_header();
  disk.incompatible_features = std::uint64_t{1} << 5;
  Area area(disk);
  DiskFeatureName name{.type = 0, .bit = 5, .name = "time travel"};
  area.add(kExtensionFeatureNames, {reinterpret_cast<const char*>(&name), sizeof name});
  const Result<Header> header = parse_header(area.bytes);
  ASSERT_FALSE(header);
  EXPECT_NE(header.error().message().find("time travel"), std::string::npos);
}

TEST(Qcow2Header, AnExtensionThatReachesPastTheAreaIsRefused) {
  Area area(good_header());
  area.add(0x12345678, "abc");
  DiskExtension extension{};
  extension.type = 0x12345678;
  extension.length = 0xfffffff0;
  std::memcpy(area.bytes.data() + area.end, &extension, sizeof extension);
  const Result<Header> header = parse_header(area.bytes);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().message(), "Header extension too large");
}

TEST(Qcow2Header, AFileCutWithinTheHeaderIsNoReasonToReadPastIt) {
  const Area area(good_header());
  for (std::size_t size = 0; size < 200; ++size) {
    (void)parse_header(std::span(area.bytes).first(size)).has_value();
  }
}

}  // namespace
}  // namespace platter::qcow2
