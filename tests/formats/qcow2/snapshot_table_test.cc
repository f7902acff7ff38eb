#include "formats/qcow2/snapshot_table.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/run_loop.h"

namespace platter::qcow2 {
namespace {

Snapshot named(std::string id, std::string name) {
  Snapshot snapshot;
  snapshot.id = std::move(id);
  snapshot.name = std::move(name);
  return snapshot;
}

Result<SnapshotTable> read_back(const std::vector<std::byte>& bytes, std::uint32_t count,
                                std::uint64_t file_size) {
  MemoryFile file("table", file_size);
  const Header header{
      .size = 777 * kSectorSize, .snapshot_count = count, .snapshots_offset = 64 * kKiB};
  RunLoop loop;
  EXPECT_TRUE(loop.run(file.write(header.snapshots_offset, bytes)));
  return loop.run(read_snapshots(header, file));
}

TEST(SnapshotTable, WhatIsWrittenIsReadBack) {
  std::vector<Snapshot> snapshots;
  for (std::uint64_t i = 0; i < 300; ++i) {
    Snapshot snapshot = named(std::to_string(i), std::string(i * 7 % 400, 'n'));
    snapshot.l1_table_offset = i << 16;
    snapshot.l1_size = static_cast<std::uint32_t>(i * 3);
    snapshot.date_sec = 0xfedcba98U - static_cast<std::uint32_t>(i);
    snapshot.date_nsec = 999'999'999;
    snapshot.vm_clock_nsec = i << 40;
    snapshot.vm_state_size = i % 2 == 0 ? i : i << 33;
    snapshot.disk_size = i << 20;
    snapshot.icount = i;
    snapshot.unknown_extra.assign(i % 50, static_cast<std::byte>(i));
    snapshots.push_back(std::move(snapshot));
  }
  const std::vector<std::byte> bytes = encode_snapshots(snapshots).value();
  // The file ends with the last name.
  const SnapshotTable table = read_back(bytes, 300, 0).value();
  EXPECT_EQ(table.size, bytes.size());
  ASSERT_EQ(table.snapshots.size(), snapshots.size());
  for (std::size_t i = 0; i < snapshots.size(); ++i) {
    const Snapshot& read = table.snapshots[i];
    const Snapshot& written = snapshots[i];
    EXPECT_EQ(read.id, written.id);
    EXPECT_EQ(read.name, written.name);
    EXPECT_EQ(read.l1_table_offset, written.l1_table_offset);
    EXPECT_EQ(read.l1_size, written.l1_size);
    EXPECT_EQ(read.date_sec, written.date_sec);
    EXPECT_EQ(read.date_nsec, written.date_nsec);
    EXPECT_EQ(read.vm_clock_nsec, written.vm_clock_nsec);
    EXPECT_EQ(read.vm_state_size, written.vm_state_size);
    EXPECT_EQ(read.disk_size, written.disk_size);
    EXPECT_EQ(read.icount, written.icount);
    EXPECT_EQ(read.unknown_extra, written.unknown_extra);
  }
  EXPECT_EQ(encode_snapshots(table.snapshots).value(), bytes);
}

TEST(SnapshotTable, AnEntryWithoutExtraDataHasTheImagesSize) {
  DiskSnapshot disk{};
  disk.id_size = 1;
  disk.name_size = 2;
  disk.vm_state_size = 5;
  std::vector<std::byte> bytes(sizeof disk + 3);
  std::memcpy(bytes.data(), &disk, sizeof disk);
  std::memcpy(bytes.data() + sizeof disk, "1ab", 3);
  const SnapshotTable table = read_back(bytes, 1, 0).value();
  ASSERT_EQ(table.snapshots.size(), 1U);
  EXPECT_EQ(table.snapshots[0].disk_size, 777 * kSectorSize);
  EXPECT_EQ(table.snapshots[0].vm_state_size, 5U);
  EXPECT_EQ(table.snapshots[0].icount, ~std::uint64_t{0});
  EXPECT_EQ(table.snapshots[0].name, "ab");
}

TEST(SnapshotTable, WhatHasNoRoomIsRefused) {
  EXPECT_EQ(encode_snapshots(std::vector{named("1", std::string(65536, 'n'))}).error().kind(),
            ErrorKind::too_large);
  EXPECT_TRUE(encode_snapshots(std::vector{named("1", std::string(65535, 'n'))}));
  EXPECT_EQ(encode_snapshots(std::vector<Snapshot>(65537)).error().kind(), ErrorKind::too_large);
  EXPECT_TRUE(encode_snapshots(std::vector<Snapshot>(65536)));
  const std::vector<Snapshot> many(1100, named("1", std::string(65000, 'n')));
  EXPECT_EQ(encode_snapshots(many).error().kind(), ErrorKind::too_large);
  Snapshot extra;
  extra.unknown_extra.resize(1001);
  EXPECT_EQ(encode_snapshots(std::vector{extra}).error().kind(), ErrorKind::too_large);
  EXPECT_EQ(encode_snapshots({}).value().size(), 0U);
}

TEST(SnapshotTable, AKeyFindsTheFirstThatMatches) {
  const std::vector<Snapshot> snapshots{named("1", "a"), named("2", "1"), named("3", "a"),
                                        named("4", "")};
  const auto found = [&](const SnapshotKey& key) {
    const Snapshot* const snapshot = find_snapshot(snapshots, key);
    return snapshot == nullptr ? std::string("none") : snapshot->id;
  };
  EXPECT_EQ(found(SnapshotKey::by_name("a")), "1");
  EXPECT_EQ(found(SnapshotKey::by_name("1")), "2");
  EXPECT_EQ(found(SnapshotKey::by_name("3")), "none");
  EXPECT_EQ(found(SnapshotKey::by_name("")), "4");
  EXPECT_EQ(found(SnapshotKey::id_or_name("1")), "1");
  EXPECT_EQ(found(SnapshotKey::id_or_name("3")), "3");
  EXPECT_EQ(found(SnapshotKey::id_or_name("a")), "1");
  EXPECT_EQ(found(SnapshotKey::id_or_name("b")), "none");
  EXPECT_EQ(found({.id = "3", .name = "a"}), "3");
  EXPECT_EQ(found({.id = "2", .name = "a"}), "none");
  EXPECT_EQ(found({.id = "2", .name = std::nullopt}), "2");
}

TEST(SnapshotTable, IdsCountOn) {
  EXPECT_EQ(next_snapshot_id({}).value(), "1");
  EXPECT_EQ(next_snapshot_id(std::vector{named("7", ""), named("3", "")}).value(), "8");
  EXPECT_EQ(next_snapshot_id(std::vector{named("12x", ""), named("x99", "")}).value(), "13");
  EXPECT_EQ(next_snapshot_id(std::vector{named("18446744073709551614", "")}).value(),
            "18446744073709551615");
  for (const char* id : {"18446744073709551615", "99999999999999999999999"}) {
    EXPECT_EQ(next_snapshot_id(std::vector{named(id, "")}).error().kind(), ErrorKind::too_large);
  }
}

}  // namespace
}  // namespace platter::qcow2
