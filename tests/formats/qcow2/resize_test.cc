#include <gtest/gtest.h>

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

}  // namespace
}  // namespace platter::qcow2
