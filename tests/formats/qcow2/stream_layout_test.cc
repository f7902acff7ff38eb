#include "formats/qcow2/stream_layout.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/check.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"

namespace platter::qcow2::test {
namespace {

/// The file, with bytes of a guest cluster's number in its data.
std::unique_ptr<MemoryFile> file_of(Ring& ring, const StreamLayout& layout,
                                    std::uint64_t cluster_size) {
  auto file = std::make_unique<MemoryFile>();
  std::vector<std::byte> bytes(layout.file_size());
  layout.fill(0, std::span(bytes).first(layout.data_begin()));
  for (std::uint64_t at = layout.data_begin(); at < bytes.size(); at += cluster_size) {
    const auto range = layout.guest_range_at(at, cluster_size);
    EXPECT_EQ(range.length, cluster_size);
    std::ranges::fill(std::span(bytes).subspan(at, cluster_size),
                      static_cast<std::byte>(range.offset / cluster_size));
  }
  EXPECT_TRUE(ring.run(file->write(0, bytes)));
  return file;
}

struct Case {
  std::uint64_t cluster_size;
  std::uint64_t refcount_bits;
  bool extended_l2;
};

TEST(StreamLayout, WhatComesOutPassesACheckWithEveryClusterCounted) {
  const auto ring = *Ring::create();
  for (const Case& each : {Case{65536, 16, false}, Case{512, 64, false}, Case{4096, 1, false},
                           Case{16384, 16, true}}) {
    const std::uint64_t cluster = each.cluster_size;
    const CreateOptions options{.size = 3000 * cluster + 512,
                                .cluster_size = cluster,
                                .refcount_bits = each.refcount_bits,
                                .extended_l2 = each.extended_l2};
    const auto layout = StreamLayout::plan(options, {{0, 3}, {5, 1}, {60, 10}, {2990, 11}});
    ASSERT_TRUE(layout) << layout.error().message();
    const auto file = file_of(*ring, *layout, cluster);
    auto header = ring->run(read_header_for_check(*file));
    ASSERT_TRUE(header) << header.error().message();
    const auto report = ring->run(check_refcounts(*header, *file, {}));
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->corruptions, 0U);
    EXPECT_EQ(report->leaks, 0U);
    EXPECT_EQ(report->allocated_clusters, 25U);
    EXPECT_EQ(layout->file_size() % cluster, 0U);
  }
}

TEST(StreamLayout, MetadataIsTheSameInWhateverPiecesItIsAskedFor) {
  const CreateOptions options{.size = 1 * kMiB, .cluster_size = 4096};
  const auto layout = StreamLayout::plan(options, {{1, 200}});
  ASSERT_TRUE(layout);
  std::vector<std::byte> whole(layout->data_begin());
  layout->fill(0, whole);
  std::vector<std::byte> pieces(whole.size());
  for (std::size_t at = 0; at < pieces.size(); at += 512) {
    layout->fill(at, std::span(pieces).subspan(at, 512));
  }
  EXPECT_EQ(pieces, whole);
}

TEST(StreamLayout, AnEmptyDiskIsMetadataAlone) {
  for (const std::uint64_t size : {std::uint64_t{0}, 64 * kGiB}) {
    const auto layout = StreamLayout::plan({.size = size}, {});
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->file_size(), layout->data_begin());
  }
}

TEST(StreamLayout, WhatNeedsMoreThanOnePassIsRefused) {
  EXPECT_EQ(StreamLayout::plan({.size = kMiB, .backing_file = "b"}, {}).error().kind(),
            ErrorKind::unsupported);
  EXPECT_EQ(StreamLayout::plan({.size = kMiB, .data_file = "d"}, {}).error().kind(),
            ErrorKind::unsupported);
  EXPECT_EQ(StreamLayout::plan({.size = kMiB, .preallocation = Preallocation::metadata}, {})
                .error()
                .kind(),
            ErrorKind::unsupported);
}

}  // namespace
}  // namespace platter::qcow2::test
