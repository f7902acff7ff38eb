#include "formats/qcow2/measure.h"

#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/create.h"
#include "formats/qcow2/create_layout.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// The plan of an image whose clusters are all there tells. With clusters of 512 bytes an image outgrows
// refcount tables on the way, which is not in QEMU's figure.
TEST(Qcow2Measure, ABoundOfWhatAnImageWithAllOfItsDataTakes) {
  for (const std::uint64_t cluster : {4096U, 65536U, 2097152U}) {
    for (const std::uint64_t bits : {1U, 16U, 64U}) {
      for (const std::uint64_t size : {std::uint64_t{0}, 1 * kMiB, 77 * kMiB + 512, 900 * kMiB}) {
        CreateOptions options;
        options.size = size;
        options.cluster_size = cluster;
        options.refcount_bits = bits;
        options.preallocation = Preallocation::metadata;
        const Result<FileSizes> sizes = measure(options, 0);
        ASSERT_TRUE(sizes);
        EXPECT_EQ(sizes->fully_allocated - sizes->required, align_up(size, cluster));
        const Result<Layout> layout = plan_layout(header_of(options), options.preallocation);
        ASSERT_TRUE(layout);
        EXPECT_LE(layout->file_size, sizes->fully_allocated + 2 * cluster)
            << cluster << ' ' << bits << ' ' << size;
      }
    }
  }
}

TEST(Qcow2Measure, PreallocatedDataIsRequired) {
  CreateOptions options;
  options.size = 10 * kMiB;
  options.preallocation = Preallocation::falloc;
  const Result<FileSizes> sizes = measure(options, 0);
  ASSERT_TRUE(sizes);
  EXPECT_EQ(sizes->required, sizes->fully_allocated);
}

TEST(Qcow2Measure, ADiskThatTheFormatCanNotHoldIsTooLarge) {
  CreateOptions options;
  options.cluster_size = 512;
  options.size = 128 * kGiB;
  EXPECT_TRUE(check_disk_size(options));
  options.size += 512;
  const Result<void> checked = check_disk_size(options);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().kind(), ErrorKind::too_large);
}

TEST(Qcow2Measure, BitmapsInUseCountToo) {
  std::vector<BitmapInfo> bitmaps(1);
  bitmaps[0].name = "b";
  bitmaps[0].granularity = 65536;
  // A cluster each of bits, table and directory.
  EXPECT_EQ(measure_bitmaps(bitmaps, 1 * kGiB, 65536), 3 * 65536U);
  bitmaps[0].in_use = true;
  EXPECT_EQ(measure_bitmaps(bitmaps, 1 * kGiB, 65536), 3 * 65536U);
}

}  // namespace
}  // namespace platter::qcow2
