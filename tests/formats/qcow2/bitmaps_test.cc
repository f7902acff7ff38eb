#include "formats/qcow2/bitmaps.h"

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/header_sector.h"
#include "io/task_group.h"
#include "tests/formats/qcow2/bitmap_tools.h"

namespace platter::qcow2 {
namespace {

using test::BitmapRig;
using test::look_at_bitmaps;

CreateOptions sized(std::uint64_t size, std::uint64_t cluster_size = 64 * kKiB) {
  CreateOptions options;
  options.size = size;
  options.cluster_size = cluster_size;
  return options;
}

class BitmapsOfAnImage : public testing::Test {
 protected:
  void make(const CreateOptions& options = sized(4 * kMiB)) { rig_.create(options); }
  // Makes, saves, closes.
  void with_bitmap(const std::string& name = "b", bool enabled = true) {
    const auto image = rig_.open();
    rig_.add(*image, name, 0, enabled);
    rig_.close(*image);
  }
  // A bitmap whose last user died.
  void with_inconsistent(const std::string& name = "lost") {
    auto image = rig_.open();
    rig_.add(*image, name);
    rig_.must(image->bitmaps()->save(), "save");
    rig_.write(*image, 0, 512);
    rig_.must(image->flush(), "flush");
    rig_.lose_power(std::move(image));
    rig_.check(Repair::leaks);
    rig_.bitmaps[name].inconsistent = true;
    rig_.bitmaps[name].bits.clear();
  }
  Error error_of(Task<void> task) {
    Result<void> done = rig_.run(std::move(task));
    EXPECT_FALSE(done);
    return done ? Error(ErrorKind::io, "nothing failed") : std::move(done.error());
  }
  BitmapRig rig_{platter::test::test_seed()};
};

TEST_F(BitmapsOfAnImage, ANewOneIsThereAfterClose) {
  make();
  with_bitmap();
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, RecordEveryKindOfChange) {
  make();
  const auto image = rig_.open();
  rig_.add(*image, "fine", 512);
  rig_.add(*image, "coarse", 1 * kMiB);
  rig_.add(*image, "off", 4096, /*enabled=*/false);
  rig_.write(*image, 1000, 5000);
  rig_.must(image->write_zeroes(300'000, 70'000, ZeroMode::may_unmap), "write_zeroes");
  rig_.record(300'000, 70'000);
  rig_.must(image->discard(600'001, 200'000), "discard");
  rig_.record(600'001, 200'000);
  rig_.write_compressed(*image, 20 * 64 * kKiB);
  rig_.record(20 * 64 * kKiB, 3 * 64 * kKiB);
  const auto place = rig_.run(image->prepare_write(3 * kMiB, 100));
  ASSERT_TRUE(place);
  rig_.must(image->abandon_write(*place), "abandon_write");
  rig_.record(3 * kMiB, 100);
  rig_.close(*image);
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, AreMarkedDurablyBeforeTheFirstWriteReachesTheFile) {
  make();
  with_bitmap();
  with_bitmap("off", false);
  const auto image = rig_.open();
  rig_.write(*image, 1 * kMiB, 512);
  platter::test::CrashFile durable(rig_.file().durable());
  const auto seen = rig_.run(look_at_bitmaps(durable));
  ASSERT_TRUE(seen);
  EXPECT_TRUE(seen->at("b").inconsistent);
  EXPECT_FALSE(seen->at("off").inconsistent) << "it does not change";
  rig_.close(*image);
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, StayAsTheyAreWithoutAWrite) {
  make();
  with_bitmap();
  const platter::test::Disk before = rig_.file().live();
  const auto image = rig_.open();
  EXPECT_TRUE(image->bitmaps()->records());
  rig_.close(*image);
  EXPECT_EQ(rig_.file().live().bytes(), before.bytes());
}

TEST_F(BitmapsOfAnImage, WritesOfWhatIsDirtyAlreadyChangeFlagsOnly) {
  make();
  {
    const auto image = rig_.open();
    rig_.add(*image, "b");
    rig_.write(*image, 0, 64 * kKiB);
    rig_.close(*image);
  }
  const auto before = rig_.run(rig_.file().size());
  const auto image = rig_.open();
  const auto directory = image->header().bitmaps;
  rig_.write(*image, 0, 64 * kKiB);
  rig_.close(*image);
  const auto again = rig_.open();
  EXPECT_EQ(again->header().bitmaps, directory) << "the directory is where it was";
  rig_.close(*again);
  EXPECT_EQ(*rig_.run(rig_.file().size()), *before);
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, ManyWritesAtOnceAreAllRecorded) {
  make();
  with_bitmap();
  const auto image = rig_.open();
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (std::uint64_t i = 0; i < 32; ++i) {
      rig_.record(i * 128 * kKiB, 512);
      co_await group.spawn(image->write_zeroes(i * 128 * kKiB, 512, ZeroMode::may_unmap));
    }
  };
  rig_.must(with_group(32, body), "writes");
  rig_.close(*image);
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, SaveInBetweenKeepsRecording) {
  make();
  with_bitmap();
  const auto image = rig_.open();
  for (std::uint64_t i = 0; i < 4; ++i) {
    rig_.write(*image, i * 256 * kKiB, 512);
    rig_.must(image->bitmaps()->save(), "save");
    rig_.expect_bitmaps();
  }
  rig_.write(*image, 3 * kMiB, 512);
  EXPECT_TRUE(rig_.look_at().at("b").inconsistent);
  rig_.close(*image);
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, AnOperationIsOnDiskBeforeTheWriteThatFollows) {
  make();
  with_bitmap();
  const auto image = rig_.open();
  rig_.enable(*image, "b", false);
  rig_.write(*image, 0, 512);
  rig_.expect_bitmaps();
  rig_.remove(*image, "b");
  rig_.write(*image, 0, 512);
  rig_.expect_bitmaps();
  rig_.close(*image);
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, OperationsDoWhatTheySay) {
  make();
  const auto image = rig_.open();
  rig_.add(*image, "a", 4096);
  rig_.add(*image, "b", 128 * kKiB, false);
  rig_.write(*image, 5000, 100'000);
  rig_.merge(*image, "b", "a");
  rig_.enable(*image, "a", false);
  rig_.write(*image, 2 * kMiB, 512);
  rig_.enable(*image, "b", true);
  rig_.write(*image, 3 * kMiB, 512);
  rig_.merge(*image, "a", "b");
  rig_.merge(*image, "a", "a");
  rig_.must(image->bitmaps()->save(), "save");
  rig_.expect_bitmaps();
  rig_.clear(*image, "b");
  rig_.close(*image);
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, WhoeverIsNotLoadedIsReadForAnOperation) {
  make();
  {
    const auto image = rig_.open();
    rig_.add(*image, "a", 4096);
    rig_.add(*image, "b", 4096);
    rig_.write(*image, 123'000, 50'000);
    rig_.enable(*image, "a", false);
    rig_.enable(*image, "b", false);
    rig_.clear(*image, "b");
    rig_.close(*image);
  }
  {
    const auto image = rig_.open();
    rig_.merge(*image, "b", "a");
    rig_.close(*image);
    rig_.expect_bitmaps();
  }
  const auto image = rig_.open();
  rig_.clear(*image, "a");
  rig_.enable(*image, "b", true);
  rig_.close(*image);
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, TheLastOneTakesTheExtensionWithIt) {
  make();
  with_bitmap();
  auto image = rig_.open();
  rig_.remove(*image, "b");
  rig_.close(*image);
  image = rig_.open();
  EXPECT_FALSE(image->header().bitmaps);
  EXPECT_FALSE(image->header().autoclear(kBitmapsBit));
  rig_.close(*image);
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, RemovedAndMadeAgainItIsANewOne) {
  make();
  with_bitmap();
  {
    const auto image = rig_.open();
    rig_.write(*image, 0, 512);
    rig_.remove(*image, "b");
    rig_.add(*image, "b", 512);
    rig_.close(*image);
  }
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, AnInconsistentOneIsOfNoUse) {
  make();
  with_inconsistent();
  with_bitmap();
  rig_.expect_bitmaps();
  const auto image = rig_.open();
  Bitmaps& bitmaps = *image->bitmaps();
  const auto bits = DirtyBits::make(image->virtual_size(), 16);
  ASSERT_TRUE(bits);
  for (const Error& error :
       {error_of(bitmaps.clear("lost")), error_of(bitmaps.set_enabled("lost", true)),
        error_of(bitmaps.set_enabled("lost", false)), error_of(bitmaps.merge("lost", *bits)),
        error_of(rig_.merge_within(*image, "b", "lost")),
        error_of(image->resize(8 * kMiB, ResizeOptions())),
        error_of(image->resize(image->virtual_size(), ResizeOptions()))}) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt_image);
    EXPECT_EQ(error.message(),
              "Bitmap 'lost' is inconsistent and cannot be used\n"
              "Try block-dirty-bitmap-remove to delete this bitmap from disk");
  }
  EXPECT_EQ(error_of(bitmaps.add({.name = "lost"})).kind(), ErrorKind::already_exists);
  rig_.write(*image, 1 * kMiB, 4096);
  rig_.close(*image);
  rig_.expect_bitmaps();
  const auto again = rig_.open();
  rig_.remove(*again, "lost");
  rig_.close(*again);
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, NamesThatDoNotExistAreTold) {
  make();
  const auto image = rig_.open();
  Bitmaps& bitmaps = *image->bitmaps();
  EXPECT_EQ(error_of(bitmaps.remove("x")).message(), "Dirty bitmap 'x' not found");
  EXPECT_EQ(error_of(bitmaps.clear("x")).kind(), ErrorKind::not_found);
  EXPECT_EQ(error_of(bitmaps.set_enabled("x", true)).kind(), ErrorKind::not_found);
  const auto bits = rig_.run(image->read_bitmap("x"));
  ASSERT_FALSE(bits);
  EXPECT_EQ(bits.error().kind(), ErrorKind::not_found);
  rig_.close(*image);
}

TEST_F(BitmapsOfAnImage, WhatCanNotBeAddedIsRefused) {
  make();
  with_bitmap();
  const auto image = rig_.open();
  Bitmaps& bitmaps = *image->bitmaps();
  EXPECT_EQ(error_of(bitmaps.add({.name = ""})).message(), "Bitmap name cannot be empty");
  EXPECT_EQ(error_of(bitmaps.add({.name = std::string("a\0b", 3)})).kind(),
            ErrorKind::invalid_argument);
  EXPECT_EQ(error_of(bitmaps.add({.name = "b"})).message(), "Bitmap already exists: b");
  for (const std::uint64_t granularity : {1ULL, 256ULL, 1000ULL, 65537ULL}) {
    EXPECT_EQ(error_of(bitmaps.add({.name = "x", .granularity = granularity})).message(),
              "Granularity must be power of 2 and at least 512");
  }
  EXPECT_EQ(error_of(bitmaps.add({.name = "x", .granularity = 4 * kGiB})).kind(),
            ErrorKind::too_large);
  EXPECT_EQ(error_of(bitmaps.add({.name = std::string(1024, 'n')})).kind(), ErrorKind::too_large);
  rig_.close(*image);
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, Version2HasNone) {
  CreateOptions options = sized(1 * kMiB);
  options.version = 2;
  make(options);
  const auto image = rig_.open();
  EXPECT_EQ(error_of(image->bitmaps()->add({.name = "b"})).kind(), ErrorKind::unsupported);
  rig_.close(*image);
}

TEST_F(BitmapsOfAnImage, AnEmptyDiskHasNone) {
  make(sized(0));
  const auto image = rig_.open();
  EXPECT_EQ(error_of(image->bitmaps()->add({.name = "b"})).kind(), ErrorKind::unsupported);
  rig_.close(*image);
}

TEST_F(BitmapsOfAnImage, MemoryIsBounded) {
  make(sized(64 * kGiB));
  {
    // 128 KiB for each bitmap; the cache has half, and the L1 table what it needs.
    const std::uint64_t l1 = rig_.run(read_header(rig_.file()))->l1_size * sizeof(std::uint64_t);
    const auto image = rig_.open(true, 2 * (1 * kMiB + l1));
    for (int i = 0; i < 8; ++i) rig_.add(*image, "b" + std::to_string(i));
    EXPECT_EQ(error_of(image->bitmaps()->add({.name = "more"})).kind(), ErrorKind::out_of_memory);
    rig_.close(*image);
  }
  const Result<std::unique_ptr<Qcow2Image>> image = rig_.run(
      BitmapRig::open(std::make_unique<platter::test::SharedFile>(rig_.file()), true, 512 * kKiB));
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().kind(), ErrorKind::out_of_memory);
  const auto reader = rig_.open(false, 64 * kKiB);
  const auto bits = rig_.run(reader->read_bitmap("b0"));
  ASSERT_FALSE(bits);
  EXPECT_EQ(bits.error().kind(), ErrorKind::out_of_memory);
  rig_.close(*reader);
}

TEST_F(BitmapsOfAnImage, BitsThatAreAllTheSameTakeNoSpace) {
  make(sized(64 * kGiB, 512));
  const std::uint64_t before = *rig_.run(rig_.file().size());
  const auto image = rig_.open(true, 64 * kMiB);  // the L1 table has 16
  rig_.must(image->bitmaps()->add({.name = "b"}), "add");
  rig_.must(image->discard(0, 64 * kGiB), "discard");
  rig_.close(*image);
  const auto reader = rig_.open(false);
  const auto bits = rig_.run(reader->read_bitmap("b"));
  ASSERT_TRUE(bits);
  EXPECT_EQ(bits->dirty_bytes(), 64 * kGiB);
  rig_.close(*reader);
  EXPECT_LT(*rig_.run(rig_.file().size()), before + 64 * kKiB) << "a table of 32 KiB for 2 MiB";
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, FollowTheSizeOfTheDisk) {
  make(sized(1 * kMiB, 4096));
  const auto image = rig_.open();
  rig_.add(*image, "fine", 512);
  rig_.add(*image, "off", 64 * kKiB, false);
  rig_.write(*image, 0, 700'000);
  rig_.merge(*image, "off", "fine");
  for (const std::uint64_t size : {3 * kMiB + 512, 100 * kKiB, 2 * kMiB, 512 * kMiB, 1 * kMiB}) {
    rig_.must(image->resize(size, ResizeOptions()), "resize");
    rig_.model().active.resize(std::min(size, 4 * kMiB));
    for (auto& [name, bitmap] : rig_.bitmaps) bitmap.resize(size);
    if (size < 4 * kMiB) rig_.write(*image, size - 512, 512);
    rig_.must(image->bitmaps()->save(), "save");
    rig_.expect_bitmaps();
  }
  rig_.close(*image);
  rig_.expect_bitmaps();
  rig_.expect_clean();
}

// It is on disk still, for a disk of the old size.
TEST_F(BitmapsOfAnImage, TheLastOneIsGoneFromTheDiskBeforeItsSizeChanges) {
  make();
  with_bitmap();
  auto image = rig_.open();
  rig_.remove(*image, "b");
  rig_.must(image->resize(8 * kMiB, {}), "resize");
  rig_.lose_power(std::move(image));
  rig_.check(Repair::leaks);
  rig_.expect_clean();
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, ADiskMayNotOutgrowThem) {
  make(sized(1 * kMiB));
  const auto image = rig_.open();
  rig_.add(*image, "fine", 512);
  EXPECT_EQ(error_of(image->resize(1 * kTiB, ResizeOptions())).kind(), ErrorKind::out_of_memory);
  EXPECT_EQ(error_of(image->resize(4 * kTiB, ResizeOptions())).kind(), ErrorKind::too_large);
  EXPECT_EQ(error_of(image->resize(0, ResizeOptions())).kind(), ErrorKind::unsupported);
  EXPECT_EQ(image->virtual_size(), 1 * kMiB);
  rig_.write(*image, 0, 512);
  rig_.close(*image);
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, ASnapshotCanNotBeAppliedBesideThem) {
  make(sized(1 * kMiB));
  const auto image = rig_.open();
  rig_.snapshot(*image, "s");
  rig_.add(*image, "b");
  EXPECT_EQ(error_of(image->apply_snapshot(SnapshotKey::by_name("s"))).message(),
            "Device has active dirty bitmaps");
  rig_.remove(*image, "b");
  rig_.must(image->apply_snapshot(SnapshotKey::by_name("s")), "apply");
  rig_.close(*image);
  rig_.expect_clean();
}

TEST_F(BitmapsOfAnImage, TheLastOneIsGoneFromTheDiskBeforeASnapshotIsApplied) {
  make(sized(1 * kMiB, 4096));
  {
    const auto image = rig_.open();
    rig_.write(*image, 0, 4096);
    rig_.snapshot(*image, "one");
    rig_.write(*image, 0, 8192);
    rig_.add(*image, "b");
    rig_.close(*image);
  }
  auto image = rig_.open();
  rig_.remove(*image, "b");
  rig_.must(image->apply_snapshot(SnapshotKey::by_name("one")), "apply");
  rig_.lose_power(std::move(image));
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, OtherDisksBitmapsMergeIfTheSizesAreEqual) {
  make(sized(1 * kMiB));
  const auto image = rig_.open();
  rig_.add(*image, "b");
  DirtyBits other = DirtyBits::make(2 * kMiB, 16).value();
  EXPECT_EQ(error_of(image->bitmaps()->merge("b", other)).message(),
            "Bitmaps are of different sizes (destination size is 1048576, source size is "
            "2097152) and can't be merged");
  DirtyBits same = DirtyBits::make(1 * kMiB, 12).value();
  same.mark(70'000, 1);
  rig_.must(image->bitmaps()->merge("b", same), "merge");
  rig_.record(70'000, 1);
  rig_.close(*image);
  rig_.expect_bitmaps();
}

TEST_F(BitmapsOfAnImage, AReadOnlyImageShowsThemAndHasNoneToChange) {
  make();
  with_bitmap();
  const auto image = rig_.open(false);
  EXPECT_EQ(image->bitmaps(), nullptr);
  const auto bits = rig_.run(image->read_bitmap("b"));
  ASSERT_TRUE(bits);
  EXPECT_EQ(bits->dirty_bytes(), 0U);
  rig_.close(*image);
}

// --- damage

// Changes bytes of the file; `places` are where the directory, the first table and its bits are.
struct Places {
  std::uint64_t directory = 0;
  std::uint64_t table = 0;
  std::uint64_t bits = 0;
};

class BitmapsDamage : public BitmapsOfAnImage {
 protected:
  Places make_damageable() {
    make(sized(4 * kMiB, 4096));
    const auto image = rig_.open();
    rig_.add(*image, "b");
    rig_.write(*image, 64 * kKiB, 512);
    rig_.must(image->bitmaps()->save(), "save");
    Places places{.directory = image->header().bitmaps->directory_offset};
    places.table = image->bitmaps()->list()[0].table_offset;
    rig_.close(*image);
    be64 entry;
    const auto read = rig_.run(rig_.file().read(places.table, bytes_of(entry)));
    EXPECT_TRUE(read);
    places.bits = entry;
    return places;
  }
  static std::span<std::byte> bytes_of(be64& value) {
    return std::as_writable_bytes(std::span(&value, 1));
  }
  void put(std::uint64_t at, std::uint64_t value) {
    be64 stored = value;
    rig_.must(rig_.file().write(at, bytes_of(stored)), "damage");
  }
  void expect_refused(const std::string& text) {
    const auto image =
        rig_.run(BitmapRig::open(std::make_unique<platter::test::SharedFile>(rig_.file()), true));
    ASSERT_FALSE(image);
    EXPECT_EQ(image.error().kind(), ErrorKind::corrupt_image);
    EXPECT_NE(image.error().message().find(text), std::string::npos) << image.error().message();
  }
  void mark_in_use(const Places& places) {
    std::array<std::byte, 4> flags{std::byte{0}, std::byte{0}, std::byte{0}, std::byte{3}};
    rig_.must(rig_.file().write(places.directory + 12, flags), "damage");
  }
};

TEST_F(BitmapsDamage, OfATableIsFoundWhenTheImageIsOpened) {
  const Places places = make_damageable();
  for (const std::uint64_t entry :
       {places.bits | 1, places.bits | 2, places.bits + 512, places.bits | kCopiedFlag}) {
    put(places.table, entry);
    expect_refused("Could not read bitmap_table table from image for bitmap 'b'");
  }
  put(places.table, 1ULL << 40);
  expect_refused("Could not read bitmap_table table from image for bitmap 'b'");
  put(places.directory, 1ULL << 40);
  expect_refused("ends past the end of the file");
}

TEST_F(BitmapsDamage, OverlapsAreFoundWhenTheImageIsOpened) {
  const Places places = make_damageable();
  put(places.table, 4096);  // the refcount table
  expect_refused("belongs to bitmap 'b' and to something else");
  put(places.table, places.directory);
  expect_refused("belongs to bitmap 'b' and to something else");
  put(places.table, places.table);
  expect_refused("belongs to bitmap 'b' and to something else");
  put(places.table, places.bits);
  put(places.directory, 0);
  expect_refused("doesn't satisfy the constraints");
}

TEST_F(BitmapsDamage, OfAnInconsistentOneDoesNotMatterAndItsClustersAreNotTouched) {
  const Places places = make_damageable();
  for (const std::uint64_t entry : {std::uint64_t{4096}, places.directory, places.table,
                                    places.bits | 2, std::uint64_t{1} << 40}) {
    mark_in_use(places);
    put(places.table, entry);
    const platter::test::Disk before = rig_.file().live();
    const auto image = rig_.open();
    ASSERT_TRUE(image);
    rig_.must(image->bitmaps()->remove("b"), "remove");
    rig_.close(*image);
    const auto seen = rig_.check(Repair::leaks);
    EXPECT_EQ(seen.report.corruptions, 0) << entry;
    rig_.expect_clean();
    rig_.use(before);
  }
}

TEST_F(BitmapsDamage, ClustersThatAreCountedAsFreeAreNotHandedOut) {
  const Places places = make_damageable();
  const std::array<std::byte, 2> zero{};  // refcounts have 16 bits
  be64 block;
  ASSERT_TRUE(rig_.run(rig_.file().read(rig_.run(read_header(rig_.file()))->refcount_table_offset,
                                        bytes_of(block))));
  rig_.must(rig_.file().write(block + places.bits / 4096 * 2, zero), "damage");
  const auto image = rig_.open();
  Result<void> done;
  for (std::uint64_t at = kMiB; done && at < 2 * kMiB; at += 4096) {
    done = rig_.run(image->write(at, std::vector<std::byte>(4096)));
  }
  ASSERT_FALSE(done);
  const Error& error = done.error();
  EXPECT_EQ(error.kind(), ErrorKind::corrupt_image);
  EXPECT_NE(error.message().find("is counted as free"), std::string::npos) << error.message();
  (void)rig_.run(image->close()).has_value();
}

}  // namespace
}  // namespace platter::qcow2
