// Images that hold something behind their end: a shrink was cut off by a crash, or somebody else made
// them so.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/formats/qcow2/snapshot_tools.h"
#include "tests/formats/qcow2/tiny_image.h"
#include "tests/support/crash_file.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2 {
namespace {

using platter::test::CrashFile;
using platter::test::Disk;
using test::Bytes;
using test::Checked;
using test::TinyImage;

constexpr std::uint64_t kCluster = TinyImage::kCluster;
constexpr unsigned kData = 40;  // clusters with contents
constexpr std::uint64_t kEnd = 10 * kCluster + kCluster;

// Its size says less than what is there: clusters of the table that the end lies in, and a table
// that lies behind the end as a whole.
Disk image_with_more_behind(bool snapshot) {
  TinyImage image(4, kData, snapshot);
  const std::uint64_t table = image.add_leak() * kCluster;
  const std::uint64_t data = image.add_leak() * kCluster;
  std::fill_n(image.bytes.begin() + static_cast<std::ptrdiff_t>(data), kCluster, std::byte{0xee});
  image.put(table + 8, data | TinyImage::kCopied);
  image.put(image.l1_at(2), table | TinyImage::kCopied);
  image.put(24, kEnd);
  Disk disk;
  disk.write(0, image.bytes);
  return disk;
}

Bytes contents(std::uint64_t size, std::uint64_t end) {
  Bytes bytes(size);
  for (std::uint64_t at = 0; at < end; ++at) bytes[at] = static_cast<std::byte>(at / kCluster + 1);
  return bytes;
}

struct Growth {
  std::uint64_t size = 0;
  Preallocation preallocation = Preallocation::off;
  bool snapshot = false;
  bool backing = false;
};

Task<Bytes> grow(File& file, const Growth& growth) {
  const Bytes backing(growth.backing ? TinyImage::kSize : 0, std::byte{0xbb});
  const auto image = co_await open_on(std::make_unique<platter::test::SharedFile>(file), nullptr,
                                      backing, /*writable=*/true);
  Result<void> done =
      co_await image->resize(growth.size, {.preallocation = growth.preallocation}).result();
  Result<Bytes> bytes = co_await test::SnapshotRig::read_all(*image).result();
  Result<void> closed = co_await image->close().result();
  co_await std::move(done);
  co_await std::move(closed);
  co_return bytes;
}

void expect_zeroes_behind(const Growth& growth) {
  const auto ring = Ring::create().value();
  CrashFile file(image_with_more_behind(growth.snapshot));
  ASSERT_TRUE(ring->run(test::check_file(file)).value().clean());
  const Result<Bytes> grown = ring->run(grow(file, growth));
  ASSERT_TRUE(grown) << grown.error().message();
  EXPECT_TRUE(*grown == contents(growth.size, kEnd));
  const Result<Checked> checked = ring->run(test::check_file(file));
  ASSERT_TRUE(checked);
  for (const std::string& message : checked->messages) ADD_FAILURE() << message;
  if (growth.backing) return;  // its header does not name it
  const auto seen = ring->run(test::SnapshotRig::look(file));
  ASSERT_TRUE(seen) << seen.error().message();
  EXPECT_TRUE(seen->active == *grown);
  ASSERT_EQ(seen->snapshots.size(), growth.snapshot ? 1U : 0U);
  if (growth.snapshot) {
    EXPECT_TRUE(seen->snapshots.at("one") == contents(TinyImage::kSize, kData * kCluster));
  }
}

TEST(Qcow2Resize, WhatLiesBehindTheEndDoesNotComeBackWhenItGrows) {
  for (const std::uint64_t size : {kEnd + kCluster, 30 * kCluster, TinyImage::kSize}) {
    for (const auto mode : {Preallocation::off, Preallocation::metadata, Preallocation::full}) {
      for (const bool snapshot : {false, true}) {
        SCOPED_TRACE(std::to_string(size) + " mode " + std::to_string(static_cast<int>(mode)) +
                     (snapshot ? " with a snapshot" : ""));
        expect_zeroes_behind({.size = size, .preallocation = mode, .snapshot = snapshot});
      }
    }
  }
}

TEST(Qcow2Resize, NorDoesABackingFileShowThere) {
  for (const bool snapshot : {false, true}) {
    expect_zeroes_behind({.size = TinyImage::kSize, .snapshot = snapshot, .backing = true});
  }
}

}  // namespace
}  // namespace platter::qcow2
