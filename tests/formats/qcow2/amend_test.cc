#include "formats/qcow2/amend.h"

#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/header_encode.h"
#include "formats/qcow2/header_sector.h"
#include "tests/formats/qcow2/amend_tools.h"
#include "tests/formats/qcow2/tiny_image.h"
#include "tests/support/disk_files.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using platter::test::Disk;
using test::amend;
using test::Bytes;
using test::SnapshotRig;
using test::SnapshotSet;
using test::TinyImage;

CreateOptions small() {
  CreateOptions options;
  options.size = 1 * kMiB;
  options.cluster_size = 4 * kKiB;
  return options;
}

Header header_of(SnapshotRig& rig) { return rig.run(read_header(rig.file())).value(); }

// As platter and QEMU see it.
void expect_whole(SnapshotRig& rig) {
  rig.expect_clean();
  EXPECT_EQ(rig.look(), rig.model());
  if (!platter::test::have_program("qemu-img")) return;
  const platter::test::TempDir folder;
  const std::string path = folder / "image";
  platter::test::write_disk(path, rig.file().live());
  Disk backing;
  backing.write(0, rig.backing());
  platter::test::write_disk(folder / "backing", backing);
  const auto checked = platter::test::run_command("qemu-img", "check", path);
  EXPECT_EQ(checked.exit_code, 0) << checked.out << checked.err;
}

class Amend : public testing::TestWithParam<SnapshotSet> {};

TEST_P(Amend, GoesToTheOtherVersionAndBack) {
  const SnapshotSet& set = GetParam();
  if (set.options.extended_l2) GTEST_SKIP() << "version 2 has no extended entries";
  SnapshotRig rig;
  test::make_amendable(rig, set);
  const unsigned first = set.options.version;
  for (const unsigned version : {5 - first, first, 5 - first}) {
    const Result<void> done = amend(rig, {.version = version, .refcount_bits = 16});
    ASSERT_TRUE(done) << done.error().message();
    const Header header = header_of(rig);
    EXPECT_EQ(header.version, version);
    EXPECT_EQ(header.incompatible_features | header.compatible_features | header.autoclear_features,
              version == 3 && header.lazy_refcounts() ? 1U : 0U);
    expect_whole(rig);
    // It is one to work with.
    const auto image = rig.open();
    rig.write_some(*image, set.compressed);
    rig.snapshot(*image, "more");
    rig.remove(*image, "more");
    rig.must(image->close(), "close");
  }
}

TEST_P(Amend, CountsReferencesWithAnyWidth) {
  const SnapshotSet& set = GetParam();
  SnapshotRig rig;
  test::make_amendable(rig, set);
  for (const std::uint64_t bits : {64U, 2U, 32U, 4U, 16U, 8U, 2U, 64U}) {
    SCOPED_TRACE(bits);
    if (bits == 2 && set.compressed) continue;  // several compressed clusters share one
    const Result<void> done = amend(rig, {.version = 3, .refcount_bits = bits});
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(std::uint64_t{1} << header_of(rig).refcount_order, bits);
    expect_whole(rig);
  }
  const Disk disk = rig.file().live();
  const Result<void> refused = amend(rig, {.refcount_bits = 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::too_large);
  EXPECT_TRUE(refused.error().message().starts_with(
      "Cannot decrease refcount entry width to 1 bits: Cluster at offset 0x"))
      << refused.error().message();
  EXPECT_EQ(rig.file().live().bytes(), disk.bytes());
}

INSTANTIATE_TEST_SUITE_P(Options, Amend, testing::ValuesIn(test::amend_sets()),
                         [](const auto& set) { return set.param.name; });

TEST(AmendRefcounts, FromEveryWidthToEveryOther) {
  for (unsigned from = 0; from <= kRefcountOrderMax; ++from) {
    for (unsigned to = 0; to <= kRefcountOrderMax; ++to) {
      SCOPED_TRACE(std::to_string(from) + " -> " + std::to_string(to));
      SnapshotRig rig(from * 7 + to);
      CreateOptions options = small();
      options.cluster_size = 512;
      options.refcount_bits = std::uint64_t{1} << from;
      rig.create(options);
      auto image = rig.open();
      rig.write_some(*image, /*compressed=*/from > 0 && to > 0);
      rig.must(image->close(), "close");
      const Result<void> done = amend(rig, {.refcount_bits = std::uint64_t{1} << to});
      ASSERT_TRUE(done) << done.error().message();
      EXPECT_EQ(header_of(rig).refcount_order, to);
      rig.expect_clean();
      EXPECT_EQ(rig.look(), rig.model());
    }
  }
}

TEST(AmendRefcounts, ThatTakeThousandsOfBlocksNeedOneInMemory) {
  SnapshotRig rig;
  CreateOptions options = small();
  options.size = 16 * kMiB;
  options.cluster_size = 512;
  options.preallocation = Preallocation::metadata;
  rig.create(options);
  for (const std::uint64_t bits : {64U, 1U, 16U}) {
    const Result<void> done = rig.run(amend(std::make_unique<platter::test::SharedFile>(rig.file()),
                                            {.refcount_bits = bits}, /*memory_max=*/1));
    ASSERT_TRUE(done) << done.error().message();
    rig.expect_clean();
  }
  EXPECT_EQ(rig.look(), rig.model());
}

TEST(AmendRefcounts, LeaveNothingOfTheOldOnes) {
  SnapshotRig rig;
  rig.create(small());
  const auto image = rig.open();
  rig.write(*image, 0, 300 * kKiB);
  rig.must(image->close(), "close");
  ASSERT_TRUE(amend(rig, {.refcount_bits = 64}));
  ASSERT_TRUE(amend(rig, {.refcount_bits = 16}));
  const std::uint64_t size = rig.file().live().size();
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(amend(rig, {.refcount_bits = 64}));
    ASSERT_TRUE(amend(rig, {.refcount_bits = 16}));
  }
  EXPECT_LE(rig.file().live().size(), size + 4 * small().cluster_size);
  rig.expect_clean();
}

TEST(AmendRefcounts, TheImageGoesOnBeingUsed) {
  SnapshotRig rig;
  rig.create(small());
  const auto image = rig.open();
  rig.write_some(*image, /*compressed=*/true);
  for (const std::uint64_t bits : {64U, 8U, 32U}) {
    rig.must(image->amend({.lazy_refcounts = bits == 8, .refcount_bits = bits}), "amend");
    EXPECT_EQ(image->header().lazy_refcounts(), bits == 8);
    rig.write_some(*image, /*compressed=*/true);
    rig.snapshot(*image, "at " + std::to_string(bits));
    rig.write_some(*image, /*compressed=*/true);
    EXPECT_EQ(rig.run(SnapshotRig::read_all(*image)).value(), rig.model().active);
  }
  rig.must(image->close(), "close");
  expect_whole(rig);
}

TEST(AmendRefcounts, BitmapsGoOnRecording) {
  SnapshotRig rig;
  rig.create(small());
  const auto image = rig.open();
  rig.must(image->bitmaps()->add({.name = "b", .granularity = 4096}), "add");
  rig.write(*image, 64 * kKiB, 4096);
  rig.must(image->amend({.refcount_bits = 64}), "amend");
  ASSERT_EQ(image->bitmaps()->list().size(), 1U);
  rig.write(*image, 128 * kKiB, 4096);
  const Result<DirtyBits> bits = rig.run(image->read_bitmap("b"));
  ASSERT_TRUE(bits);
  EXPECT_TRUE(bits->next_dirty(64 * kKiB) && bits->next_dirty(128 * kKiB));
  EXPECT_EQ(bits->next_dirty(0)->offset, 64 * kKiB);
  rig.must(image->close(), "close");
  expect_whole(rig);
}

TEST(AmendHeader, LazyRefcountsAreOneBit) {
  SnapshotRig rig;
  rig.create(small());
  const Header before = header_of(rig);
  for (const bool lazy : {true, true, false, false}) {
    ASSERT_TRUE(amend(rig, {.lazy_refcounts = lazy}));
    Header wanted = before;
    wanted.compatible_features = lazy ? 1 : 0;
    EXPECT_EQ(header_of(rig), wanted);
  }
  rig.expect_clean();
}

// Names and extensions are written anew, and are what they were.
TEST(AmendHeader, WhatElseItSaysStays) {
  for (const std::size_t unknown : {0U, 1U, 700U, 3000U}) {
    SnapshotRig rig;
    CreateOptions options = small();
    options.cluster_size = 64 * kKiB;
    options.backing_file = std::string(900, 'n');
    options.backing_format = "raw";
    rig.set_backing(Bytes(4096, std::byte{1}));
    rig.create(options);
    Header header = header_of(rig);
    header.unknown_extensions.push_back({0x12345678, Bytes(unknown, std::byte{5})});
    Bytes bytes = encode_header(header).value();
    rig.must(rig.file().write(0, bytes), "write");
    for (const unsigned version : {2U, 3U, 2U, 3U}) {
      const Result<void> done = amend(rig, {.version = version});
      ASSERT_TRUE(done) << done.error().message();
      header.version = version;
      EXPECT_EQ(header_of(rig), header);
      EXPECT_EQ(rig.look(), rig.model());
    }
  }
}

TEST(AmendSize, IsThatOfTheDisk) {
  SnapshotRig rig;
  rig.create(small());
  auto image = rig.open();
  rig.write(*image, 0, 1 * kMiB);
  rig.must(image->close(), "close");
  for (const std::uint64_t size : {4 * kMiB, 300 * kKiB, 300 * kKiB, 1 * kMiB}) {
    ASSERT_TRUE(amend(rig, {.size = size}));
    rig.model().active.resize(size);
    expect_whole(rig);
  }
  ASSERT_TRUE(amend(rig, {.size = 0})) << "as if not given";
  EXPECT_EQ(rig.look(), rig.model());
}

TEST(AmendVersion, SnapshotsOfAnotherSizeAreInTheWayUntilTheSizeIsTheirs) {
  SnapshotRig rig;
  rig.create(small());
  auto image = rig.open();
  rig.write_some(*image, false);
  rig.snapshot(*image, "one");
  rig.must(image->resize(2 * kMiB, {}), "resize");
  rig.must(image->close(), "close");
  rig.model().active.resize(2 * kMiB);
  const Result<void> refused = amend(rig, {.version = 2});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message(), "Internal snapshots prevent downgrade of image");
  ASSERT_TRUE(amend(rig, {.version = 2, .size = 1 * kMiB}));
  rig.model().active.resize(1 * kMiB);
  expect_whole(rig);
  EXPECT_EQ(header_of(rig).version, 2U);
}

// The least that version 2 asks for: snapshots without extra data.
TEST(AmendVersion, SnapshotsOfVersion2GetWhatVersion3AsksFor) {
  for (const std::size_t extra : {0U, 8U, 16U}) {
    SnapshotRig rig;
    CreateOptions options = small();
    options.version = 2;
    rig.create(options);
    auto image = rig.open();
    for (const char* const name : {"one", "another one", "the last of them"}) {
      rig.write_some(*image, false);
      rig.snapshot(*image, name);
    }
    rig.must(image->close(), "close");
    const Header before = header_of(rig);
    const SnapshotTable table = rig.run(read_snapshots(before, rig.file())).value();
    Bytes bytes;
    for (const Snapshot& snapshot : table.snapshots) {
      bytes.resize(align_up(bytes.size(), 8));
      const Bytes whole = encode_snapshots(std::span(&snapshot, 1)).value();
      const std::size_t at = bytes.size();
      bytes.insert(bytes.end(), whole.begin(), whole.begin() + 40 + static_cast<int>(extra));
      bytes.insert(bytes.end(), whole.begin() + 64, whole.end());
      const be32 extra_size = static_cast<std::uint32_t>(extra);
      std::memcpy(bytes.data() + at + 36, &extra_size, sizeof extra_size);
    }
    bytes.resize(table.size);
    rig.must(rig.file().write(before.snapshots_offset, bytes), "write");
    EXPECT_EQ(rig.look(), rig.model());

    const Result<void> done = amend(rig, {.version = 3});
    ASSERT_TRUE(done) << done.error().message();
    const Header after = header_of(rig);
    const SnapshotTable complete = rig.run(read_snapshots(after, rig.file())).value();
    EXPECT_EQ(complete.size, encode_snapshots(table.snapshots)->size());
    EXPECT_NE(after.snapshots_offset, before.snapshots_offset);
    expect_whole(rig);
  }
}

TEST(AmendVersion, ZeroClustersTakeNoSpaceWithoutABackingFile) {
  SnapshotRig rig;
  rig.create(small());
  auto image = rig.open();
  rig.write(*image, 0, 1 * kMiB);
  rig.must(image->write_zeroes(0, 512 * kKiB, ZeroMode::keep_allocated), "write_zeroes");
  rig.must(image->close(), "close");
  std::fill_n(rig.model().active.begin(), 512 * kKiB, std::byte{0});
  ASSERT_TRUE(amend(rig, {.version = 2}));
  expect_whole(rig);
  image = rig.open(/*writable=*/false);
  const auto runs = rig.run(image->map(0, 512 * kKiB, 4)).value();
  rig.must(image->close(), "close");
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].kind, MappingKind::unallocated);
}

TEST(AmendVersion, ZeroClustersHideTheBackingFile) {
  SnapshotRig rig;
  CreateOptions options = small();
  options.backing_file = "backing";
  options.backing_format = "raw";
  rig.set_backing(Bytes(1 * kMiB, std::byte{0xbb}));
  rig.create(options);
  auto image = rig.open();
  const auto zero = [&](std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
    rig.must(image->write_zeroes(offset, length, mode), "write_zeroes");
    std::fill_n(rig.model().active.begin() + static_cast<std::ptrdiff_t>(offset), length,
                std::byte{0});
  };
  rig.write(*image, 0, 200 * kKiB);
  zero(0, 40 * kKiB, ZeroMode::keep_allocated);
  zero(400 * kKiB, 200 * kKiB, ZeroMode::may_unmap);
  rig.snapshot(*image, "one");
  rig.write(*image, 0, 20 * kKiB);
  zero(100 * kKiB, 40 * kKiB, ZeroMode::keep_allocated);
  rig.must(image->close(), "close");
  ASSERT_TRUE(amend(rig, {.version = 2}));
  expect_whole(rig);
  // Nothing is shared that should not be.
  image = rig.open();
  rig.write(*image, 400 * kKiB, 300 * kKiB);
  rig.apply(*image, "one");
  rig.write(*image, 0, 300 * kKiB);
  rig.must(image->close(), "close");
  expect_whole(rig);
}

// --- what is refused, and changes nothing

struct Refusal {
  const char* name;
  std::function<void(CreateOptions&)> create;
  AmendOptions options;
  std::string message;
};

std::vector<Refusal> refusals() {
  const auto plain = [](CreateOptions&) {};
  const auto v2 = [](CreateOptions& o) { o.version = 2; };
  const auto extended = [](CreateOptions& o) {
    o.cluster_size = 16 * kKiB;
    o.extended_l2 = true;
  };
  const auto wide = [](CreateOptions& o) { o.refcount_bits = 64; };
  const std::string backing =
      "Cannot amend the backing file\nYou can use 'qemu-img rebase' instead.";
  const std::string power = "Refcount width must be a power of two and may not exceed 64 bits";
  const std::string above = "compatibility level 1.1 or above (use compat=1.1 or greater)";
  return {
      {"no such version", plain, {.version = 4}, "Unknown compatibility level 4"},
      {"3 bits", plain, {.refcount_bits = 3}, power},
      {"0 bits", plain, {.refcount_bits = 0}, power},
      {"128 bits", plain, {.refcount_bits = 128}, power},
      {"8 bits and version 2",
       plain,
       {.version = 2, .refcount_bits = 8},
       "Refcount widths other than 16 bits require " + above},
      {"8 bits in version 2",
       v2,
       {.refcount_bits = 8},
       "Refcount widths other than 16 bits require " + above},
      {"64 bits that stay", wide, {.version = 2}, "compat=0.10 requires refcount_bits=16"},
      {"lazy in version 2",
       v2,
       {.lazy_refcounts = true},
       "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or "
       "greater)"},
      {"extended entries",
       extended,
       {.version = 2},
       "Cannot downgrade an image with incompatible features 0x10 set"},
      {"a data file for one that has none",
       plain,
       {.data_file = "d"},
       "data-file can only be set for images that use an external data file"},
      {"a raw data file",
       plain,
       {.data_file_raw = true},
       "data-file-raw cannot be set on existing images"},
      {"another backing file", plain, {.backing_file = "b"}, backing},
      {"another backing format", plain, {.backing_format = "raw"}, backing},
      {"half a sector", plain, {.size = 1000}, "The new size must be a multiple of 512"},
      {"a size that comes last",
       plain,
       {.size = 1000, .lazy_refcounts = true, .refcount_bits = 64},
       "The new size must be a multiple of 512"},
      {"an endless disk",
       plain,
       {.size = kMaxFileSize - 511, .lazy_refcounts = true},
       "Failed to grow the L1 table: File too large"},
  };
}

TEST(AmendRefusals, ComeBeforeAnyChange) {
  for (const Refusal& refusal : refusals()) {
    SCOPED_TRACE(refusal.name);
    SnapshotRig rig;
    CreateOptions options = small();
    refusal.create(options);
    rig.create(options);
    auto image = rig.open();
    rig.write_some(*image, false);
    rig.must(image->close(), "close");
    const Bytes before = rig.file().live().bytes();
    const Result<void> done = amend(rig, refusal.options);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().message(), refusal.message);
    EXPECT_EQ(rig.file().live().bytes(), before);
  }
}

TEST(AmendRefusals, WhatVersion2HasNoPlaceForIsNotThrownAway) {
  struct Case {
    std::function<void(Header&)> change;
    std::string message;
  };
  const Case cases[] = {{[](Header& h) { h.compatible_features = 0x21; },
                         "Cannot downgrade an image with compatible features 0x20 set"},
                        {[](Header& h) { h.unknown_fields = Bytes(8, std::byte{1}); },
                         "Cannot downgrade an image with unknown fields in its header"},
                        {[](Header& h) { h.unknown_fields = Bytes(8); }, ""}};
  for (const Case& each : cases) {
    SnapshotRig rig;
    rig.create(small());
    Header header = header_of(rig);
    each.change(header);
    rig.must(rig.file().write(0, encode_header(header).value()), "write");
    const Result<void> done = amend(rig, {.version = 2});
    EXPECT_EQ(done ? "" : done.error().message(), each.message);
    EXPECT_EQ(header_of(rig).version, done ? 2U : 3U);
  }
}

TEST(AmendRefusals, BitmapsAreNotThrownAway) {
  SnapshotRig rig;
  rig.create(small());
  auto image = rig.open();
  rig.must(image->bitmaps()->add({.name = "b"}), "add");
  rig.must(image->close(), "close");
  const Result<void> done = amend(rig, {.version = 2});
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message(), "Cannot downgrade an image with persistent bitmaps");
  image = rig.open();
  rig.must(image->bitmaps()->remove("b"), "remove");
  rig.must(image->close(), "close");
  EXPECT_TRUE(amend(rig, {.version = 2}));
  expect_whole(rig);
}

TEST(AmendRefusals, ZstdGoesOnlyWhereNothingIsCompressed) {
  for (const bool compressed : {false, true}) {
    SnapshotRig rig;
    CreateOptions options = small();
    options.compression_type = CompressionType::zstd;
    rig.create(options);
    auto image = rig.open();
    rig.write(*image, 0, 100 * kKiB);
    if (compressed) rig.write_compressed(*image, 500 * kKiB);
    rig.snapshot(*image, "one");
    // In a snapshot's table alone, too.
    rig.write(*image, 400 * kKiB, 300 * kKiB);
    rig.must(image->close(), "close");
    const Result<void> done = amend(rig, {.version = 2});
    EXPECT_EQ(done.has_value(), !compressed);
    if (!done) {
      EXPECT_EQ(done.error().message(),
                "Cannot downgrade an image with zstd compression type and existing compressed "
                "clusters");
    }
    expect_whole(rig);
  }
}

TEST(AmendRefusals, WhoCanNotWriteOrIsCancelledChangesNothing) {
  SnapshotRig rig;
  rig.create(small());
  auto image = rig.open(/*writable=*/false);
  EXPECT_EQ(rig.run(image->amend({.version = 2})).error().kind(), ErrorKind::read_only);
  rig.must(image->close(), "close");
  image = rig.open();
  rig.write(*image, 0, 100 * kKiB);
  CancelToken cancel;
  cancel.request();
  for (const AmendOptions& options : {AmendOptions{.refcount_bits = 64, .cancel = &cancel},
                                      AmendOptions{.version = 2, .cancel = &cancel}}) {
    const Result<void> done = rig.run(image->amend(options));
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::cancelled);
  }
  rig.must(image->close(), "close");
  EXPECT_EQ(header_of(rig).version, 3U);
  expect_whole(rig);
}

TEST(AmendProgress, TellsOfAllThatIsToBeDone) {
  SnapshotRig rig;
  CreateOptions options = small();
  options.refcount_bits = 64;
  rig.create(options);
  auto image = rig.open();
  rig.write(*image, 0, 1 * kMiB);
  rig.must(image->close(), "close");
  std::uint64_t total = 0;
  std::uint64_t done = 0;
  AmendOptions wanted{.version = 2, .refcount_bits = 16};
  wanted.on_total = [&](std::uint64_t bytes) { total += bytes; };
  wanted.on_done = [&](std::uint64_t bytes) { done += bytes; };
  ASSERT_TRUE(amend(rig, wanted));
  EXPECT_GT(total, 4096U);
  EXPECT_GE(done, total);
}

// --- images that lie

TEST(AmendLies, RandomDamageEndsInWordsNotInAFall) {
  const std::uint64_t seed = platter::test::test_seed();
  for (std::uint64_t round = 0; round < 400; ++round) {
    SnapshotRig rig(seed + round);
    TinyImage tiny(static_cast<unsigned>(1 + rig.below(6)), 30, /*snapshot=*/rig.below(2) == 0);
    for (std::uint64_t n = 1 + rig.below(4); n > 0; --n) {
      const std::uint64_t at = align_down(512 + rig.below(tiny.bytes.size() - 512), 8);
      const std::uint64_t bits = rig.seed();
      const std::uint64_t one_bit = tiny.get(at) ^ (std::uint64_t{1} << bits % 64);
      tiny.put(at, rig.below(3) == 0   ? bits
                   : rig.below(2) == 0 ? one_bit
                                       : tiny.get(at) | kZeroFlag);
    }
    Disk disk;
    disk.write(0, tiny.bytes);
    rig.use(disk);
    for (int i = 0; i < 3; ++i) {
      AmendOptions options;
      if (rig.below(2) == 0) options.refcount_bits = std::uint64_t{1} << rig.below(7);
      if (rig.below(2) == 0) options.version = 2 + static_cast<unsigned>(rig.below(2));
      if (rig.below(4) == 0) options.size = 512 * rig.below(400);
      (void)amend(rig, options);
    }
  }
}

TEST(AmendLies, ATableOfASnapshotThatIsSomethingElseIsNotWritten) {
  for (int what = 0; what < 3; ++what) {
    TinyImage tiny(4, 30, /*snapshot=*/true);
    const std::uint64_t l1 = tiny.get(tiny.snapshots_offset());
    const std::uint64_t places[] = {0x200, tiny.table_offset(), tiny.snapshots_offset()};
    tiny.put(l1, places[what]);
    SnapshotRig rig;
    Disk disk;
    disk.write(0, tiny.bytes);
    rig.use(disk);
    const Result<void> done = amend(rig, {.version = 2});
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::corrupt_image) << done.error().message();
    EXPECT_EQ(rig.file().live().bytes(), disk.bytes());
  }
}

}  // namespace
}  // namespace platter::qcow2
