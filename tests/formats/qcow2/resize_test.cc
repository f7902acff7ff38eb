// Images that hold something behind their end: a shrink was cut off by a crash, or somebody else made
// them so.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/memory_file.h"
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

// The file's last cluster is free: a run that begins there goes on behind the end of the file, where
// everything reads as zeroes. What was written there once does not any more.
Task<void> use_the_end_twice(Qcow2Image& image) {
  constexpr std::uint64_t kFirst = 20 * kCluster;
  co_await image.write(kFirst, Bytes(2 * kCluster, std::byte{0x77}));
  co_await image.discard(kFirst, 2 * kCluster);
  co_await image.flush();  // drops them
  co_await image.write(kFirst, Bytes(100, std::byte{1}));
  co_await image.write(30 * kCluster, Bytes(100, std::byte{1}));
  Bytes bytes(2 * kCluster);
  co_await image.read(kFirst, std::span(bytes).first(kCluster));
  co_await image.read(30 * kCluster, std::span(bytes).subspan(kCluster));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_EQ(bytes[i], std::byte{i % kCluster < 100}) << i;
  }
}

TEST(Qcow2Allocator, ClustersBehindTheEndOfTheFileAreFreshOnce) {
  TinyImage tiny(4, 5, /*snapshot=*/false);
  tiny.set_refcount(tiny.add_leak(), 0);
  Disk disk;
  disk.write(0, tiny.bytes);
  const auto ring = Ring::create().value();
  CrashFile file(disk, {.name = "image", .discarded = std::byte{0xd5}});
  const auto image =
      ring->run(test::SnapshotRig::open(std::make_unique<platter::test::SharedFile>(file), true))
          .value();
  EXPECT_TRUE(ring->run(use_the_end_twice(*image)));
  EXPECT_TRUE(ring->run(image->close()));
  EXPECT_TRUE(ring->run(test::check_file(file)).value().clean());
}

// Its L1 table takes more clusters than a refcount block counts, many times over.
TEST(Qcow2Resize, ATableThatNeedsManyRefcountBlocksFindsAPlace) {
  test::SnapshotRig rig;
  CreateOptions options;
  options.size = 1 * kMiB;
  options.cluster_size = 512;
  rig.create(options);
  const auto image = rig.open();
  rig.write_some(*image, /*compressed=*/false);
  rig.must(image->resize(16 * kGiB, {}), "resize");
  rig.must(image->close(), "close");
  EXPECT_LT(rig.file().live().size(), 8 * kMiB);
  rig.expect_clean();
}

// As long as the disk; one that is to be valid by itself has all of it mapped.
TEST(Qcow2Resize, ADataFileFollowsTheSize) {
  for (const bool raw : {false, true}) {
    test::SnapshotRig rig;
    MemoryFile file("image");
    MemoryFile data("data");
    CreateOptions options;
    options.size = 1 * kMiB;
    options.data_file = "data";
    options.data_file_raw = raw;
    rig.must(create_qcow2(file, &data, plan_image(options).value()), "create");
    const auto image = rig.run(open_on(std::make_unique<platter::test::SharedFile>(file),
                                       std::make_unique<platter::test::SharedFile>(data), {},
                                       /*writable=*/true))
                           .value();
    for (const std::uint64_t size : {3 * kMiB + 512, 300 * kKiB, 2 * kMiB}) {
      const test::Bytes ones(size < 1 * kMiB ? size : 1 * kMiB, std::byte{1});
      rig.must(image->resize(size, {}), "resize");
      rig.must(image->write(0, ones), "write");
      EXPECT_EQ(align_up(rig.run(data.size()).value(), 64 * kKiB), align_up(size, 64 * kKiB));
      const auto runs = rig.run(image->map(0, size, 4)).value();
      EXPECT_EQ(runs[0].length, raw ? size : ones.size());
      test::Bytes seen(size);
      rig.must(image->read(0, seen), "read");
      EXPECT_TRUE(std::equal(ones.begin(), ones.end(), seen.begin()));
      EXPECT_TRUE(std::all_of(seen.begin() + static_cast<std::ptrdiff_t>(ones.size()), seen.end(),
                              [](std::byte b) { return b == std::byte{0}; }));
    }
    rig.must(image->close(), "close");
  }
}

}  // namespace
}  // namespace platter::qcow2
