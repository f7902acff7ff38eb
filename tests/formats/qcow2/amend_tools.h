// Images to be amended, and what they should be afterwards.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/amend.h"
#include "tests/formats/qcow2/snapshot_tools.h"

namespace platter::qcow2::test {

/// Every kind of image that snapshots are tested with, and some over a backing file.
inline std::vector<SnapshotSet> amend_sets() {
  std::vector<SnapshotSet> sets = snapshot_sets();
  SnapshotSet backed = sets.front();
  backed.name = "backed";
  backed.options.backing_file = "backing";
  backed.options.backing_format = "raw";
  backed.options.cluster_size = 4 * kKiB;
  backed.options.size = 200 * kKiB;
  sets.push_back(backed);
  backed.name = "backed_c512";
  backed.options.cluster_size = 512;
  backed.options.size = 100 * kKiB;
  backed.compressed = true;
  backed.memory_max = 4 * kKiB;
  sets.push_back(backed);
  backed.name = "backed_v2";
  backed.options.version = 2;
  sets.push_back(backed);
  return sets;
}

/// Two snapshots, and differences between all three; zeroes in each.
inline void make_amendable(SnapshotRig& rig, const SnapshotSet& set) {
  if (set.options.backing_file) rig.set_backing(Bytes(set.options.size / 2, std::byte{0xbb}));
  rig.create(set.options);
  const auto image = rig.open();
  const auto zero = [&](std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
    rig.must(image->write_zeroes(offset, length, mode), "write_zeroes");
    std::fill_n(rig.model().active.begin() + static_cast<std::ptrdiff_t>(offset), length,
                std::byte{0});
  };
  const std::uint64_t cluster = set.options.cluster_size;
  for (const char* const name : {"one", "two"}) {
    rig.write_some(*image, set.compressed);
    rig.write(*image, 4 * cluster, 2 * cluster);
    zero(0, 2 * cluster, ZeroMode::may_unmap);
    zero(4 * cluster, cluster, ZeroMode::keep_allocated);
    // Two bits count the image and two snapshots.
    if (set.options.refcount_bits == 2 && name == std::string("two")) {
      rig.write(*image, 0, rig.model().active.size());
    }
    rig.snapshot(*image, name);
  }
  rig.write_some(*image, set.compressed);
  zero(6 * cluster, cluster, ZeroMode::keep_allocated);
  rig.must(image->close(), "close");
  rig.expect_clean();
  EXPECT_EQ(rig.look(), rig.model());
}

/// Opens, amends, closes.
inline Task<void> amend(std::unique_ptr<File> file, AmendOptions options,
                        std::uint64_t memory_max = 4 * kMiB, Bytes backing = {}) {
  const auto image = co_await SnapshotRig::open(std::move(file), /*writable=*/true, memory_max,
                                                std::move(backing));
  Result<void> done = co_await image->amend(std::move(options)).result();
  Result<void> closed = co_await image->close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

inline Result<void> amend(SnapshotRig& rig, AmendOptions options) {
  return rig.run(amend(std::make_unique<platter::test::SharedFile>(rig.file()), std::move(options),
                       4 * kMiB, rig.backing()));
}

}  // namespace platter::qcow2::test
