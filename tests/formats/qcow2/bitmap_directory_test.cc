#include "formats/qcow2/bitmap_directory.h"

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kAt = 0x50000;

// A disk of 1 GiB: a bitmap of 64 KiB granularity takes one cluster of bits.
Header some_header() {
  Header header;
  header.size = 1 * kGiB;
  header.autoclear_features = std::uint64_t{1} << kBitmapsBit;
  return header;
}

std::vector<BitmapEntry> some_entries() {
  return {{.name = "a",
           .table_offset = 0x60000,
           .table_size = 1,
           .flags = kBitmapAuto,
           .granularity = 65536},
          {.name = "bitmap two",
           .table_offset = 0x70000,
           .table_size = 1,
           .flags = 0,
           .granularity = 4096},
          {.name = std::string(1023, 'x'),
           .table_offset = 0x80000,
           .table_size = 5,
           .flags = kBitmapInUse | kBitmapAuto,
           .granularity = 512}};
}

Result<std::vector<BitmapEntry>> read(Header header, const Bytes& directory,
                                      std::uint32_t count = 3) {
  const auto ring = Ring::create().value();
  MemoryFile file("image");
  EXPECT_TRUE(ring->run(file.write(kAt, directory)));
  if (!header.bitmaps) {
    header.bitmaps = BitmapsExtension{
        .count = count, .directory_offset = kAt, .directory_size = directory.size()};
  }
  return ring->run(read_bitmap_directory(header, file));
}

TEST(BitmapDirectory, ReadsWhatWasEncoded) {
  const auto entries = read(some_header(), encode_directory(some_entries()));
  ASSERT_TRUE(entries) << entries.error().message();
  EXPECT_EQ(*entries, some_entries());
  EXPECT_EQ(encode_directory(some_entries()).size(), directory_size(some_entries()));
}

TEST(BitmapDirectory, IsNotReadWithoutItsAutoclearBit) {
  Header header = some_header();
  header.autoclear_features = 0;
  const auto entries = read(header, Bytes(100, std::byte{0xff}));
  ASSERT_TRUE(entries);
  EXPECT_TRUE(entries->empty());
}

TEST(BitmapDirectory, FlagsAreChangedAlone) {
  std::vector<BitmapEntry> entries = some_entries();
  Bytes directory = encode_directory(entries);
  entries[0].flags |= kBitmapInUse;
  entries[2].flags = 0;
  update_flags(directory, entries);
  EXPECT_EQ(directory, encode_directory(entries));
}

struct Damage {
  std::string name;
  std::string message;
  std::function<void(Bytes& directory)> damage;
};
void PrintTo(const Damage& damage, std::ostream* stream) { *stream << damage.name; }

class BitmapDirectoryDamage : public testing::TestWithParam<Damage> {};

void put(Bytes& directory, std::size_t at, std::initializer_list<int> bytes) {
  for (const int byte : bytes) directory[at++] = static_cast<std::byte>(byte);
}

TEST_P(BitmapDirectoryDamage, IsRefused) {
  Bytes directory = encode_directory(some_entries());
  GetParam().damage(directory);
  const auto entries = read(some_header(), directory);
  ASSERT_FALSE(entries);
  EXPECT_EQ(entries.error().message(), GetParam().message);
}

const std::string kNotPossible = "Bitmap 'a' doesn't satisfy the constraints";

INSTANTIATE_TEST_SUITE_P(
    All, BitmapDirectoryDamage,
    testing::Values(
        Damage{"table_nowhere", kNotPossible,
               [](Bytes& d) { put(d, 0, {0, 0, 0, 0, 0, 0, 0, 0}); }},
        Damage{"table_unaligned", kNotPossible, [](Bytes& d) { put(d, 7, {8}); }},
        Damage{"table_past_63_bits", kNotPossible, [](Bytes& d) { put(d, 0, {0xff}); }},
        Damage{"table_empty", kNotPossible, [](Bytes& d) { put(d, 8, {0, 0, 0, 0}); }},
        Damage{"table_huge", kNotPossible, [](Bytes& d) { put(d, 8, {0xff}); }},
        Damage{"table_too_long",
               "Could not read bitmap 'a' from image: its table has 2 entries, not 1",
               [](Bytes& d) { put(d, 11, {2}); }},
        Damage{"table_too_short", "Bitmap 'bitmap two' doesn't satisfy the constraints",
               [](Bytes& d) { put(d, 32 + 17, {9}); }},
        Damage{"flag_reserved", kNotPossible, [](Bytes& d) { put(d, 15, {4}); }},
        Damage{"flag_high", kNotPossible, [](Bytes& d) { put(d, 12, {0x80}); }},
        Damage{"type_unknown", kNotPossible, [](Bytes& d) { put(d, 16, {2}); }},
        Damage{"granularity_small", kNotPossible, [](Bytes& d) { put(d, 17, {8}); }},
        Damage{"granularity_large", kNotPossible, [](Bytes& d) { put(d, 17, {32}); }},
        Damage{"name_empty", "Bitmap '' doesn't satisfy the constraints",
               [](Bytes& d) { put(d, 18, {0, 0}); }},
        Damage{"extra_data", "Bitmap extra data is not supported",
               [](Bytes& d) { put(d, 23, {4}); }},
        Damage{"extra_data_huge", "Broken bitmap directory", [](Bytes& d) { put(d, 20, {0xff}); }},
        Damage{"ends_within_an_entry", "Broken bitmap directory",
               [](Bytes& d) { d.resize(d.size() - 8); }},
        Damage{"ends_within_fields", "Broken bitmap directory", [](Bytes& d) { d.resize(40); }},
        Damage{"fewer_than_said", "Less bitmaps found than specified in header extension",
               [](Bytes& d) { d.resize(32); }},
        Damage{"more_than_said", "More bitmaps found than specified in header extension",
               [](Bytes& d) { d.resize(d.size() + 32); }},
        Damage{"two_of_one_name", "Bitmap already exists: a",
               [](Bytes& d) {
                 put(d, 32 + 18, {0, 1});
                 d.erase(d.begin() + 32 + 32, d.begin() + 32 + 40);
                 put(d, 32 + 24, {'a'});
               }}),
    [](const auto& damage) { return damage.param.name; });

TEST(BitmapDirectory, ANameWithAZeroByteIsRefused) {
  std::vector<BitmapEntry> entries = some_entries();
  entries[1].name[3] = '\0';
  EXPECT_FALSE(read(some_header(), encode_directory(entries)));
}

TEST(BitmapDirectory, AnInconsistentOneMayHaveATableOfAnySize) {
  std::vector<BitmapEntry> entries = some_entries();
  entries[0].table_size = 100;
  entries[0].flags |= kBitmapInUse;
  EXPECT_TRUE(read(some_header(), encode_directory(entries)));
}

TEST(BitmapDirectory, TheExtensionIsBounded) {
  const std::pair<BitmapsExtension, std::string> kCases[] = {
      {{0, kAt, 32}, "found bitmaps extension with zero bitmaps"},
      {{70000, kAt, 32},
       "bitmaps_ext: Image has 70000 bitmaps, exceeding the QEMU supported maximum of 65535"},
      {{3, kAt + 8, 32}, "bitmaps_ext: invalid bitmap directory offset"},
      {{3, 0, 32}, "bitmaps_ext: invalid bitmap directory offset"},
      {{3, ~std::uint64_t{0xffff}, 32}, "bitmaps_ext: invalid bitmap directory offset"},
      {{3, kAt, 1 * kGiB},
       "bitmaps_ext: bitmap directory size (1073741824) exceeds the maximum supported size "
       "(67107840)"},
      {{3, kAt, 0}, "Requested bitmap directory size is zero"},
      {{3, kAt, 1 * kMiB},
       "'image': the bitmap directory at offset 0x50000 ends past the end of the file"}};
  for (const auto& [extension, message] : kCases) {
    Header header = some_header();
    header.bitmaps = extension;
    const auto entries = read(header, encode_directory(some_entries()));
    ASSERT_FALSE(entries);
    EXPECT_EQ(entries.error().message(), message);
  }
}

TEST(BitmapDirectory, BoundsOfANewBitmapAreQemus) {
  const Header header = some_header();
  EXPECT_TRUE(check_bitmap(header, "a", 512, 2 * kTiB));
  EXPECT_FALSE(check_bitmap(header, "a", 512, 2 * kTiB + 512 * 8));
  EXPECT_TRUE(check_bitmap(header, "a", 2 * kGiB, kMaxFileSize - 511));
  EXPECT_FALSE(check_bitmap(header, "a", 4 * kGiB, 1 * kGiB));
  EXPECT_FALSE(check_bitmap(header, "a", 256, 1 * kGiB));
  EXPECT_TRUE(check_bitmap(header, std::string(1023, 'n'), 512, 1 * kGiB));
  EXPECT_FALSE(check_bitmap(header, std::string(1024, 'n'), 512, 1 * kGiB));
}

}  // namespace
}  // namespace platter::qcow2
