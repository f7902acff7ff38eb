// What a guest and the tools should find in an image.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/formats/qcow2/bitmap_tools.h"
#include "tests/formats/qcow2/random/option_sets.h"

namespace platter::qcow2::test {

class ImageModel {
 public:
  ImageModel() = default;
  /// `below`: what the backing chain holds.
  ImageModel(const OptionSet& set, std::span<const std::byte> below)
      : active(set.size),
        cluster_size_(set.cluster_size()),
        discards_(!set.version2() || set.backing.empty()) {
    std::ranges::copy(below.first(std::min(below.size(), active.size())), active.begin());
  }

  Bytes active;
  std::map<std::string, Bytes> snapshots;
  BitmapModels bitmaps;

  std::uint64_t size() const { return active.size(); }

  /// The guest is going to change a range, somehow.
  void record(std::uint64_t offset, std::uint64_t length) {
    for (auto& [name, bitmap] : bitmaps) {
      if (bitmap.enabled) bitmap.mark(offset, length);
    }
  }
  void write(std::uint64_t offset, std::span<const std::byte> data) {
    std::ranges::copy(data, at(offset));
    record(offset, data.size());
  }
  void fill(std::uint64_t offset, std::uint64_t length, std::byte value) {
    std::fill_n(at(offset), length, value);
    record(offset, length);
  }
  /// Whole clusters become zeroes; the image's end ends one, too. Others stay as they are, and so
  /// do all where version 2 can't hide a backing file.
  void discard(std::uint64_t offset, std::uint64_t length) {
    record(offset, length);
    const std::uint64_t begin = align_up(offset, cluster_size_);
    std::uint64_t end = align_down(offset + length, cluster_size_);
    if (offset + length == size()) end = size();
    if (discards_ && begin < end) std::fill_n(at(begin), end - begin, std::byte{0});
  }
  void resize(std::uint64_t size) {
    active.resize(size);
    for (auto& [name, bitmap] : bitmaps) bitmap.resize(size);
  }
  void add_bitmap(const std::string& name, std::uint64_t granularity, bool enabled) {
    if (granularity == 0) granularity = std::clamp(cluster_size_, 4 * kKiB, 64 * kKiB);
    BitmapModel& bitmap = bitmaps[name] = {.granularity = granularity, .enabled = enabled};
    bitmap.resize(size());
  }
  void clear_bitmap(const std::string& name) {
    auto& bits = bitmaps.at(name).bits;
    std::fill(bits.begin(), bits.end(), false);
  }
  void merge_bitmaps(const std::string& name, const std::string& source) {
    const BitmapModel other = bitmaps.at(source);
    BitmapModel& bitmap = bitmaps.at(name);
    for (std::size_t i = 0; i < other.bits.size(); ++i) {
      const std::uint64_t offset = i * other.granularity;
      if (other.bits[i]) bitmap.mark(offset, std::min(other.granularity, size() - offset));
    }
  }

 private:
  Bytes::iterator at(std::uint64_t offset) {
    return active.begin() + static_cast<std::ptrdiff_t>(offset);
  }

  std::uint64_t cluster_size_ = 64 * kKiB;
  bool discards_ = true;
};

/// A failure that says where they differ.
inline void expect_same(std::span<const std::byte> seen, std::span<const std::byte> wanted,
                        const std::string& what) {
  EXPECT_EQ(seen.size(), wanted.size()) << "the size of " << what;
  const std::size_t common = std::min(seen.size(), wanted.size());
  const auto [at, other] = std::ranges::mismatch(seen.first(common), wanted.first(common));
  if (at == seen.begin() + static_cast<std::ptrdiff_t>(common)) return;
  ADD_FAILURE() << what << " differs at offset " << at - seen.begin() << ": "
                << std::to_integer<int>(*at) << " instead of " << std::to_integer<int>(*other);
}

}  // namespace platter::qcow2::test
