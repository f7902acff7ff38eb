#include "formats/qcow2/snapshots.h"

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/task_group.h"
#include "tests/formats/qcow2/snapshot_tools.h"
#include "tests/formats/qcow2/tiny_image.h"
#include "tests/support/disk_files.h"

namespace platter::qcow2 {
namespace {

using platter::test::Disk;
using test::Bytes;
using test::SnapshotRig;
using test::TinyImage;

CreateOptions small() {
  CreateOptions options;
  options.size = 1 * kMiB;
  options.cluster_size = 4 * kKiB;
  return options;
}

SnapshotKey named(const std::string& name) { return SnapshotKey::by_name(name); }

TEST(Snapshots, EachShowsWhatTheImageHeldThen) {
  SnapshotRig rig;
  rig.create(small());
  const auto image = rig.open();
  for (const char* const name : {"one", "two", "three"}) {
    rig.write_some(*image, /*compressed=*/true);
    rig.snapshot(*image, name);
  }
  rig.write_some(*image, /*compressed=*/true);
  rig.must(image->flush(), "flush");
  EXPECT_EQ(rig.look(), rig.model());
  rig.remove(*image, "two");
  rig.apply(*image, "three");
  EXPECT_EQ(rig.look(), rig.model());
  EXPECT_EQ(rig.run(SnapshotRig::read_all(*image)).value(), rig.model().active);
  // What is there can go on being used.
  rig.write_some(*image, /*compressed=*/true);
  rig.apply(*image, "one");
  rig.write_some(*image, /*compressed=*/true);
  rig.must(image->close(), "close");
  rig.expect_clean();
  EXPECT_EQ(rig.look(), rig.model());
}

TEST(Snapshots, DeletingAllOfThemLeavesTheFileAsShortAsBefore) {
  SnapshotRig rig;
  rig.create(small());
  auto image = rig.open();
  rig.write(*image, 0, 300 * kKiB);
  rig.must(image->close(), "close");
  const std::uint64_t size = rig.file().live().size();
  image = rig.open();
  rig.snapshot(*image, "one");
  rig.snapshot(*image, "two");
  rig.remove(*image, "one");
  rig.remove(*image, "two");
  EXPECT_EQ(image->header().snapshot_count, 0U);
  EXPECT_EQ(image->header().snapshots_offset, 0U);
  rig.must(image->close(), "close");
  EXPECT_EQ(rig.file().live().size(), size);
  rig.expect_clean();
  // COPIED is back: nothing moves.
  image = rig.open();
  rig.write(*image, 0, 300 * kKiB);
  rig.must(image->close(), "close");
  EXPECT_EQ(rig.file().live().size(), size);
}

TEST(Snapshots, ApplyingOneChangesTheSize) {
  SnapshotRig rig;
  CreateOptions options = small();
  options.cluster_size = 512;
  rig.create(options);
  const auto image = rig.open();
  rig.write(*image, 0, 1 * kMiB);
  rig.snapshot(*image, "small");
  rig.must(image->resize(8 * kMiB, {}), "resize");
  rig.model().active.resize(8 * kMiB);
  rig.write(*image, 7 * kMiB, 300 * kKiB);
  rig.snapshot(*image, "large");
  rig.must(image->resize(100 * kKiB, {}), "resize");
  for (const char* const name : {"large", "small", "large"}) {
    rig.apply(*image, name);
    EXPECT_EQ(image->virtual_size(), rig.model().active.size());
    EXPECT_EQ(rig.look(), rig.model());
  }
  rig.must(image->close(), "close");
  rig.expect_clean();
}

TEST(Snapshots, RequestsWaitForThem) {
  SnapshotRig rig;
  rig.create(small());
  rig.use(rig.file().live(), /*yields_max=*/4);
  const auto image = rig.open();
  const Bytes first(1 * kMiB, std::byte{1});
  const Bytes second(1 * kMiB, std::byte{2});
  const auto body = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t at = 0; at < first.size(); at += 98'304) {
      const std::size_t length = std::min<std::size_t>(98'304, first.size() - at);
      co_await group.spawn(image->write(at, std::span(first).subspan(at, length)));
    }
    co_await group.spawn(image->create_snapshot({.name = "one"}));
    for (std::size_t at = 0; at < second.size(); at += 98'304) {
      const std::size_t length = std::min<std::size_t>(98'304, second.size() - at);
      co_await group.spawn(image->write(at, std::span(second).subspan(at, length)));
    }
    co_await group.spawn(image->create_snapshot({.name = "two"}));
    co_await group.spawn(image->apply_snapshot(named("one")));
    co_await group.spawn(image->delete_snapshot(named("one")));
  };
  rig.must(with_group(64, body), "all at once");
  rig.must(image->close(), "close");
  rig.expect_clean();
  // Of a write in flight a part may come first; whole sectors all the same.
  const test::Contents seen = rig.look();
  ASSERT_EQ(seen.snapshots.size(), 1U);
  for (const Bytes* bytes : {&seen.active, &seen.snapshots.at("two")}) {
    for (std::size_t at = 0; at < bytes->size(); at += 512) {
      EXPECT_LE((*bytes)[at], std::byte{2});
      EXPECT_EQ((*bytes)[at], (*bytes)[at + 511]);
    }
  }
}

// A cluster that is zeroed in part while another part is written: neither may be lost. Beside a
// snapshot every such write takes a new cluster.
TEST(Snapshots, PartsOfOneClusterAreZeroedAndWrittenAtOnce) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    SnapshotRig rig(seed);
    rig.create(small());
    rig.use(rig.file().live(), /*yields_max=*/6);
    const auto image = rig.open();
    rig.snapshot(*image, "one");
    const Bytes data(2048, std::byte{9});
    const auto body = [&](TaskGroup& group) -> Task<void> {
      for (std::uint64_t cluster = 0; cluster < 8; ++cluster) {
        const std::uint64_t at = cluster * 4096;
        co_await group.spawn(image->write_zeroes(at, 2048, ZeroMode::may_unmap));
        co_await group.spawn(image->write(at + 2048, data));
      }
    };
    rig.must(with_group(64, body), "at once");
    const Bytes all = rig.run(SnapshotRig::read_all(*image)).value();
    for (std::uint64_t cluster = 0; cluster < 8; ++cluster) {
      EXPECT_EQ(all[cluster * 4096], std::byte{0});
      ASSERT_EQ(all[cluster * 4096 + 2048], std::byte{9}) << "seed " << seed;
    }
    rig.must(image->close(), "close");
  }
}

TEST(Snapshots, WhatCantBeCountedChangesNothing) {
  for (const std::uint64_t bits : {1, 2}) {
    SnapshotRig rig;
    CreateOptions options = small();
    options.refcount_bits = bits;
    rig.create(options);
    const auto image = rig.open();
    rig.write(*image, 0, 300 * kKiB);
    rig.must(image->flush(), "flush");
    Result<void> done;
    std::size_t taken = 0;
    for (; done && taken < 5; ++taken) {
      done = rig.run(image->create_snapshot({.name = std::to_string(taken)}));
    }
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().kind(), ErrorKind::too_large);
    EXPECT_EQ(taken, bits == 1 ? 1U : 3U);
    rig.must(image->close(), "close");
    rig.expect_clean();
    EXPECT_EQ(rig.look().snapshots.size(), taken - 1);
  }
}

TEST(Snapshots, WhatIsNotThereIsNotFound) {
  SnapshotRig rig;
  rig.create(small());
  const auto image = rig.open();
  rig.snapshot(*image, "one");
  const std::size_t before = platter::test::hash_of(rig.file().live());
  EXPECT_EQ(rig.run(image->delete_snapshot(named("two"))).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(rig.run(image->delete_snapshot(named("1"))).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(rig.run(image->apply_snapshot(named("two"))).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(platter::test::hash_of(rig.file().live()), before);
  rig.must(image->close(), "close");
  const auto reader = rig.open(/*writable=*/false);
  EXPECT_EQ(rig.run(reader->show_snapshot(named("two"))).error().kind(), ErrorKind::not_found);
  EXPECT_EQ(rig.run(reader->create_snapshot({.name = "x"})).error().kind(), ErrorKind::read_only);
  EXPECT_EQ(rig.run(reader->delete_snapshot(named("one"))).error().kind(), ErrorKind::read_only);
  EXPECT_EQ(rig.run(reader->apply_snapshot(named("one"))).error().kind(), ErrorKind::read_only);
  rig.must(reader->close(), "close");
}

TEST(Snapshots, ACancelledOneChangesNothing) {
  SnapshotRig rig;
  rig.create(small());
  const auto image = rig.open();
  rig.write(*image, 0, 300 * kKiB);
  rig.snapshot(*image, "one");
  CancelToken cancel;
  cancel.request();
  const test::Contents before = rig.model();
  EXPECT_EQ(rig.run(image->create_snapshot({.name = "two"}, &cancel)).error().kind(),
            ErrorKind::cancelled);
  EXPECT_EQ(rig.run(image->delete_snapshot(named("one"), &cancel)).error().kind(),
            ErrorKind::cancelled);
  EXPECT_EQ(rig.run(image->apply_snapshot(named("one"), &cancel)).error().kind(),
            ErrorKind::cancelled);
  rig.must(image->close(), "close");
  rig.expect_clean();
  EXPECT_EQ(rig.look(), before);
}

// Images that lie. Each operation ends: well, or with a sentence that names the file.
struct Lie {
  const char* name;
  std::function<void(TinyImage&)> apply;
  bool create = true;  // works all the same
  bool remove = true;
  bool apply_works = true;
};

std::vector<Lie> lies() {
  constexpr std::uint64_t kCluster = TinyImage::kCluster;
  const auto snapshot_l1 = [](const TinyImage& i) { return i.get(i.snapshots_offset()); };
  return {
      {"nothing is wrong", [](TinyImage&) {}},
      {"a count is too small for the snapshot to go",
       [](TinyImage& i) { i.set_refcount(i.data_cluster(2), 0); }, false, false, false},
      {"a count is at its maximum", [](TinyImage& i) { i.set_refcount(i.data_cluster(2), 65535); },
       false, true, false},
      {"the snapshot's table is not at a cluster",
       [=](TinyImage& i) { i.put(snapshot_l1(i), i.get(snapshot_l1(i)) + 0x100); }, true, true,
       true},
      {"the snapshot's table is there many times",
       [=](TinyImage& i) {
         for (std::uint64_t n = 1; n < 4; ++n) {
           i.put(snapshot_l1(i) + 8 * n, i.get(snapshot_l1(i)));
         }
       },
       true, false, false},
      {"the snapshot's table is the header", [=](TinyImage& i) { i.put(snapshot_l1(i), 1); }, true,
       true, true},
      {"the snapshot's table is the refcount table",
       [=](TinyImage& i) { i.put(snapshot_l1(i), i.table_offset()); }, true, false, false},
      {"the snapshot's table is far away",
       [=](TinyImage& i) { i.put(snapshot_l1(i), std::uint64_t{1} << 50); }, true, false, false},
      {"the snapshot's L1 table is past the end",
       [=](TinyImage& i) { i.put(i.snapshots_offset(), 1 << 30); }, true, false, false},
      {"the snapshot's disk is too large",
       [=](TinyImage& i) { i.put(i.snapshots_offset() + 48, std::uint64_t{1} << 62); }, true, true,
       false},
      {"the snapshot's disk ends within a sector",
       [=](TinyImage& i) { i.put(i.snapshots_offset() + 48, 1000); }, true, true, false},
      {"an entry points far away", [](TinyImage& i) { i.put(i.l2_at(5), std::uint64_t{1} << 55); },
       false, false, false},
      {"an entry is compressed and huge",
       [](TinyImage& i) { i.put(i.l2_at(5), kCompressedFlag | 0x3fffffffffffffff); }, false, false,
       false},
      {"the snapshot table is counted as free",
       [](TinyImage& i) { i.set_refcount(i.snapshots_offset() / kCluster, 0); }, false, false,
       true},
  };
}

TEST(Snapshots, OfImagesThatLieAreRefusedBeforeAnythingIsChanged) {
  for (const Lie& lie : lies()) {
    for (int operation = 0; operation < 3; ++operation) {
      SCOPED_TRACE(std::string(lie.name) + ", operation " + std::to_string(operation));
      TinyImage tiny(4, 30, /*snapshot=*/true);
      lie.apply(tiny);
      Disk disk;
      disk.write(0, tiny.bytes);
      SnapshotRig rig;
      rig.use(disk);
      auto opened = rig.run(SnapshotRig::open(
          std::make_unique<platter::test::SharedFile>(rig.file()), /*writable=*/true));
      if (!opened) continue;  // refused right away: as good
      const Result<void> done = rig.run(operation == 0 ? (*opened)->create_snapshot({.name = "new"})
                                        : operation == 1 ? (*opened)->delete_snapshot(named("one"))
                                                         : (*opened)->apply_snapshot(named("one")));
      (void)rig.run((*opened)->close());
      const bool works = operation == 0   ? lie.create
                         : operation == 1 ? lie.remove
                                          : lie.apply_works;
      if (!works) {
        ASSERT_FALSE(done);
        EXPECT_NE(done.error().message().find("'image'"), std::string::npos)
            << done.error().message();
        EXPECT_NE(done.error().kind(), ErrorKind::io);
        // The header names what it named before.
        Bytes now(512);
        rig.file().live().read(0, now);
        EXPECT_TRUE(std::equal(now.begin(), now.begin() + 72, tiny.bytes.begin()));
      }
    }
  }
}

TEST(Snapshots, RandomDamageEndsInWordsNotInAFall) {
  const std::uint64_t seed = platter::test::test_seed();
  for (std::uint64_t round = 0; round < 400; ++round) {
    SnapshotRig rig(seed + round);
    TinyImage tiny(static_cast<unsigned>(1 + rig.below(6)), 30, /*snapshot=*/true);
    for (std::uint64_t n = 1 + rig.below(3); n > 0; --n) {
      const std::uint64_t at = align_down(512 + rig.below(tiny.bytes.size() - 512), 8);
      const std::uint64_t bits = rig.seed();
      tiny.put(at, rig.below(2) == 0 ? tiny.get(at) ^ (std::uint64_t{1} << bits % 64) : bits);
    }
    Disk disk;
    disk.write(0, tiny.bytes);
    rig.use(disk);
    for (int i = 0; i < 3; ++i) {
      auto opened = rig.run(SnapshotRig::open(
          std::make_unique<platter::test::SharedFile>(rig.file()), /*writable=*/true));
      if (!opened) break;
      (void)rig.run(rig.below(3) == 0   ? (*opened)->create_snapshot({.name = "new"})
                    : rig.below(2) == 0 ? (*opened)->delete_snapshot(named("one"))
                                        : (*opened)->apply_snapshot(named("one")));
      (void)rig.run((*opened)->close());
    }
  }
}

}  // namespace
}  // namespace platter::qcow2
