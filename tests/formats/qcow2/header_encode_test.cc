#include "formats/qcow2/header_encode.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

Header small_header() {
  Header header;
  header.size = std::uint64_t{1} << 30;
  header.l1_size = 4;  // enough for extended entries, too
  header.l1_table_offset = 0x30000;
  header.refcount_table_offset = 0x10000;
  header.refcount_table_clusters = 1;
  return header;
}

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void expect_round_trip(const Header& header) {
  const Result<Bytes> bytes = encode_header(header);
  ASSERT_TRUE(bytes) << bytes.error().message();
  EXPECT_EQ(bytes->size() % 8, header.backing_file.value_or("").size() % 8) << "padded to 8";
  // What follows in the cluster does not matter, zeroes or the end of the file.
  Bytes padded = *bytes;
  padded.resize(header.cluster_size());
  for (const Bytes& area : {*bytes, padded}) {
    const Result<Header> parsed = parse_header(area);
    ASSERT_TRUE(parsed) << parsed.error().message();
    EXPECT_EQ(*parsed, header);
  }
}

TEST(Qcow2HeaderEncode, WhatIsWrittenIsReadAgain) {
  expect_round_trip(small_header());

  Header header = small_header();
  header.backing_file = "../base image.raw";
  header.backing_format = "raw";
  header.data_file = "data";
  header.incompatible_features = (1U << kDataFileBit) | (1U << kCompressionTypeBit) |
                                 (1U << kExtendedL2Bit) | (1U << kDirtyBit);
  header.compatible_features = 1U << kLazyRefcountsBit;
  header.autoclear_features = std::uint64_t{1} << 63;
  header.compression_type = CompressionType::zstd;
  header.refcount_order = 6;
  header.snapshot_count = 3;
  header.snapshots_offset = 0x70000;
  header.bitmaps = {.count = 1, .directory_offset = 0x50000, .directory_size = 32};
  header.unknown_extensions = {{0x12345678, bytes_of("abc")}, {7, {}}, {0x12345678, bytes_of("x")}};
  header.unknown_fields = bytes_of("12345678");
  expect_round_trip(header);

  header.crypt_method = CryptMethod::luks;
  header.crypt_header = {.offset = 0x100000, .length = 0x200000};
  expect_round_trip(header);
}

TEST(Qcow2HeaderEncode, Version2EndsAfterTheSnapshots) {
  Header header = small_header();
  header.version = 2;
  header.backing_file = "b";
  header.backing_format = "qcow2";
  expect_round_trip(header);
  const Result<Bytes> bytes = encode_header(header);
  ASSERT_TRUE(bytes);
  // Fields, the format's extension (8 + 8), the end mark, the name.
  EXPECT_EQ(bytes->size(), 72U + 16 + 8 + 1);
}

TEST(Qcow2HeaderEncode, Version2CanNotSayWhatOnlyVersion3Can) {
  Header header = small_header();
  header.version = 2;
  const auto refused = [&](auto change) {
    Header changed = header;
    change(changed);
    const Result<Bytes> bytes = encode_header(changed);
    return !bytes && bytes.error().kind() == ErrorKind::invalid_argument;
  };
  EXPECT_TRUE(refused([](Header& h) { h.incompatible_features = 1; }));
  EXPECT_TRUE(refused([](Header& h) { h.compatible_features = 1; }));
  EXPECT_TRUE(refused([](Header& h) { h.autoclear_features = 1; }));
  EXPECT_TRUE(refused([](Header& h) { h.refcount_order = 3; }));
  EXPECT_TRUE(refused([](Header& h) { h.compression_type = CompressionType::zstd; }));
  EXPECT_TRUE(refused([](Header& h) { h.unknown_fields.resize(8); }));
}

TEST(Qcow2HeaderEncode, OneClusterIsAllThereIs) {
  Header header = small_header();
  header.cluster_bits = 9;
  header.size = 0;
  // 112 of fields, 8 for the end mark: 392 are left.
  header.backing_file = std::string(392, 'n');
  expect_round_trip(header);
  *header.backing_file += 'n';
  const Result<Bytes> bytes = encode_header(header);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().kind(), ErrorKind::no_space);
}

TEST(Qcow2HeaderEncode, ABackingNameThatNoReaderTakesIsNotWritten) {
  Header header = small_header();
  header.backing_file = std::string(kBackingNameMax, 'n');
  expect_round_trip(header);
  *header.backing_file += 'n';
  const Result<Bytes> bytes = encode_header(header);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().kind(), ErrorKind::too_large);
}

// qemu-img's own headers -----------------------------------------------------------------------

struct Maker {
  const char* options;
  std::vector<std::string> then{};  ///< further commands, on "image"
};

Bytes first_cluster(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  Bytes bytes(std::size_t{2} << 20);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  const Result<std::size_t> area = header_area(bytes);
  if (area) bytes.resize(std::min(*area, bytes.size()));
  return bytes;
}

class Qcow2HeaderOfQemu : public testing::TestWithParam<Maker> {
 protected:
  // Making a LUKS header takes a clock that some virtual machines are too coarse for.
  bool shell(const std::string& command) {
    test::CommandResult result;
    for (int attempt = 0; attempt < 20; ++attempt) {
      result =
          test::run_command(test::Command{.argv = {"sh", "-c", command}, .folder = folder_.path()});
      if (result.err.find("accurate CPU usage") == std::string::npos) break;
    }
    EXPECT_TRUE(result.ok()) << command << ": " << result.err;
    return result.ok();
  }
  test::TempDir folder_;
};

TEST_P(Qcow2HeaderOfQemu, IsWrittenByteForByte) {
  if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  ASSERT_TRUE(shell("qemu-img create -q -f raw base 1M && qemu-img create -q -f qcow2 " +
                    std::string(GetParam().options) + " image 1M"));
  for (const std::string& command : GetParam().then) ASSERT_TRUE(shell("qemu-img " + command));
  Bytes cluster = first_cluster(folder_ / "image");
  const Result<Header> header = parse_header(cluster);
  ASSERT_TRUE(header) << header.error().message();
  Result<Bytes> encoded = encode_header(*header);
  ASSERT_TRUE(encoded) << encoded.error().message();
  encoded->resize(cluster.size());
  EXPECT_TRUE(*encoded == cluster);
}

INSTANTIATE_TEST_SUITE_P(
    All, Qcow2HeaderOfQemu,
    testing::Values(
        Maker{""}, Maker{"-o compat=0.10"}, Maker{"-o cluster_size=512"},
        Maker{"-o cluster_size=4k,refcount_bits=1"}, Maker{"-o cluster_size=8k"},
        Maker{"-o cluster_size=2M,refcount_bits=64"}, Maker{"-o lazy_refcounts=on"},
        Maker{"-o compression_type=zstd"}, Maker{"-o extended_l2=on"}, Maker{"-o data_file=d"},
        Maker{"-o data_file=d,data_file_raw=on"}, Maker{"-b base -F raw"},
        Maker{"-b base -F raw -o compat=0.10"}, Maker{"-b ./base -F raw -o cluster_size=512"},
        Maker{"-b base -F raw -o data_file=d,extended_l2=on,compression_type=zstd"},
        Maker{"", {"bitmap --add image b0", "bitmap --add --disable image second"}},
        Maker{"-b base -F raw -o data_file=d", {"bitmap --add image b"}},
        Maker{"", {"snapshot -c one image", "snapshot -c two image"}},
        Maker{"", {"amend -o lazy_refcounts=on image", "amend -o lazy_refcounts=off image"}},
        Maker{"", {"amend -f qcow2 -o compat=0.10 image"}},
        Maker{"-o compat=0.10", {"amend -f qcow2 -o compat=1.1 image"}},
        Maker{"", {"rebase -u -b base -F raw image"}},
        Maker{"-b base -F raw", {"rebase -u -b '' image"}},
        Maker{"", {"amend -f qcow2 -o refcount_bits=1 image", "resize -q image 3M"}},
        Maker{"-o encryption=on --object secret,id=s,data=x -o encrypt.key-secret=s"},
        Maker{"--object secret,id=s,data=x -b base -F raw -o "
              "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"}));

// An unknown extension survives QEMU's own rewriting of the header, as the last one.
TEST(Qcow2HeaderEncode, UnknownExtensionsStandWhereQemuPutsThem) {
  if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  const test::TempDir folder;
  const std::string path = folder / "image";
  ASSERT_TRUE(test::run_command("qemu-img", "create", "-q", "-f", "qcow2", path, "1M").ok());
  Result<Header> header = parse_header(first_cluster(path));
  ASSERT_TRUE(header);
  header->unknown_extensions = {{0x12345678, bytes_of("hello")}};
  header->unknown_fields = bytes_of("a field.another.");
  {
    const Result<Bytes> bytes = encode_header(*header);
    ASSERT_TRUE(bytes);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.write(reinterpret_cast<const char*>(bytes->data()),
               static_cast<std::streamsize>(bytes->size()));
  }
  ASSERT_TRUE(test::run_command("qemu-img", "rebase", "-u", "-b", "base", "-F", "raw", path).ok());
  header->backing_file = "base";
  header->backing_format = "raw";
  Result<Bytes> bytes = encode_header(*header);
  ASSERT_TRUE(bytes);
  const Bytes cluster = first_cluster(path);
  bytes->resize(cluster.size());
  EXPECT_TRUE(*bytes == cluster);
}

}  // namespace
}  // namespace platter::qcow2
