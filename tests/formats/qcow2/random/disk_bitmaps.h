// The bitmaps of an image, as the specification says that they lie in its file: shares no code with
// what it judges.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/bitmap_tools.h"
#include "tests/support/disk.h"

namespace platter::qcow2::test {

class DiskBitmaps {
 public:
  explicit DiskBitmaps(const platter::test::Disk& disk) : disk_(disk) {}

  BitmapModels read() {
    BitmapModels models;
    constexpr std::uint64_t kBitmapsFeature = 1;  // autoclear
    if (number(4, 4) < 3 || (number(88, 8) & kBitmapsFeature) == 0) return models;
    const std::uint64_t extension = find_extension(0x23852875);
    if (extension == 0) return models;
    const std::uint64_t count = number(extension, 4);
    const std::uint64_t size = number(extension + 8, 8);
    std::uint64_t at = number(extension + 16, 8);
    const std::uint64_t end = at + size;
    for (std::uint64_t i = 0; i < count; ++i) at = read_entry(at, models);
    EXPECT_EQ(at, end) << "the directory's size";
    return models;
  }

 private:
  // Big-endian.
  std::uint64_t number(std::uint64_t offset, std::size_t size) const {
    std::byte bytes[8];
    EXPECT_EQ(disk_.read(offset, std::span(bytes).first(size)), size);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | std::to_integer<unsigned>(bytes[i]);
    return value;
  }

  // Where its data begins; 0: there is none.
  std::uint64_t find_extension(std::uint64_t type) const {
    std::uint64_t at = number(100, 4);
    while (true) {
      const std::uint64_t found = number(at, 4);
      if (found == 0) return 0;
      if (found == type) return at + 8;
      at += 8 + (number(at + 4, 4) + 7) / 8 * 8;
    }
  }

  // Returns where the next one begins.
  std::uint64_t read_entry(std::uint64_t at, BitmapModels& models) const {
    const std::uint64_t flags = number(at + 12, 4);
    EXPECT_EQ(number(at + 16, 1), 1U) << "the type";
    const std::uint64_t name_size = number(at + 18, 2);
    const std::uint64_t extra_size = number(at + 20, 4);
    std::string name(name_size, '\0');
    disk_.read(at + 24 + extra_size, std::as_writable_bytes(std::span(name)));
    BitmapModel model{.granularity = std::uint64_t{1} << number(at + 17, 1),
                      .enabled = (flags & 2) != 0,
                      .inconsistent = (flags & 1) != 0};
    model.resize(number(24, 8));
    read_bits(number(at, 8), number(at + 8, 4), model);
    EXPECT_TRUE(models.emplace(name, std::move(model)).second) << name << " is there twice";
    return at + (24 + extra_size + name_size + 7) / 8 * 8;
  }

  void read_bits(std::uint64_t table, std::uint64_t entries, BitmapModel& model) const {
    const std::uint64_t cluster = std::uint64_t{1} << number(20, 4);
    const std::uint64_t bytes = (model.bits.size() + 7) / 8;
    EXPECT_EQ(entries, (bytes + cluster - 1) / cluster) << "the table's size";
    for (std::uint64_t i = 0; i < bytes; ++i) {
      const std::uint64_t entry = number(table + i / cluster * 8, 8);
      const std::uint64_t offset = entry & 0x00fffffffffffe00;
      const std::uint64_t byte = offset != 0        ? number(offset + i % cluster, 1)
                                 : (entry & 1) != 0 ? 0xff
                                                    : 0;
      for (std::uint64_t bit = 8 * i; bit < std::min(8 * i + 8, model.bits.size()); ++bit) {
        model.bits[bit] = (byte >> bit % 8 & 1) != 0;
      }
    }
  }

  const platter::test::Disk& disk_;
};

}  // namespace platter::qcow2::test
