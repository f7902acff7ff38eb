#include <memory>

#include <gtest/gtest.h>

#include "io/memory_file.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/formats/qcow2/snapshot_tools.h"

namespace platter::qcow2 {
namespace {

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
