#include "formats/qcow2/bitmap_header.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/formats/qcow2/torn_header.h"

namespace platter::qcow2 {
namespace {

using test::cluster_of;
using Bytes = std::vector<std::byte>;
using Wanted = std::optional<BitmapsExtension>;

constexpr std::uint64_t kBit = std::uint64_t{1} << kBitmapsBit;
const Wanted kOne = BitmapsExtension{.count = 1, .directory_offset = 0x50000, .directory_size = 32};
const Wanted kTwo =
    BitmapsExtension{.count = 7, .directory_offset = 0x90000, .directory_size = 640};

struct Shape {
  std::string name;
  unsigned cluster_bits = 16;
  std::size_t backing_name = 0;    // bytes; 0: none
  std::size_t backing_format = 0;  // the same
  bool unknown = false;            // an extension that nobody knows
};
void PrintTo(const Shape& shape, std::ostream* stream) { *stream << shape.name; }

Header header_of(const Shape& shape, const Wanted& bitmaps) {
  Header header;
  header.cluster_bits = shape.cluster_bits;
  header.size = 1 * kMiB;
  header.l1_size = 4096;
  header.l1_table_offset = std::uint64_t{3} << shape.cluster_bits;
  header.refcount_table_offset = std::uint64_t{1} << shape.cluster_bits;
  header.refcount_table_clusters = 1;
  if (shape.backing_name > 0) header.backing_file = std::string(shape.backing_name, 'n');
  if (shape.backing_format > 0) header.backing_format = std::string(shape.backing_format, 'f');
  if (shape.unknown) {
    header.unknown_extensions.push_back({0x12345678, Bytes(21, std::byte{9})});
    header.unknown_extensions.push_back({0x12345679, Bytes(600, std::byte{8})});
  }
  header.bitmaps = bitmaps;
  if (bitmaps) header.autoclear_features = kBit;
  return header;
}

// All but bitmaps, and what they are told to be.
std::pair<Header, Wanted> read(const Bytes& cluster) {
  const Result<Header> header = parse_header(cluster);
  EXPECT_TRUE(header) << header.error().message();
  if (!header) return {};
  Header rest = *header;
  rest.bitmaps.reset();
  rest.autoclear_features &= ~kBit;
  const bool valid = header->bitmaps && header->autoclear(kBitmapsBit);
  return {rest, valid ? header->bitmaps : std::nullopt};
}

class BitmapHeader : public testing::TestWithParam<Shape> {
 protected:
  // Every state that a crash can leave on the way.
  void expect_safe(const Bytes& before, const Wanted& wanted, bool may_lose_unknown) {
    const auto [rest, had] = read(before);
    const auto steps = plan_bitmaps_extension(before, wanted);
    ASSERT_TRUE(steps) << steps.error().message();
    Bytes now = before;
    for (const HeaderStep& step : *steps) {
      test::tear(step, 4, now, [&](const Bytes& state) {
        auto [seen_rest, seen] = read(state);
        EXPECT_TRUE(!seen || seen == had || seen == wanted);
        if (may_lose_unknown) seen_rest.unknown_extensions = rest.unknown_extensions;
        EXPECT_EQ(seen_rest, rest);
      });
      if (HasFatalFailure()) return;
    }
    after_ = now;
    EXPECT_EQ(read(now), std::pair(rest, wanted));
  }
  Bytes after_;
};

TEST_P(BitmapHeader, IsAddedChangedAndRemovedWithoutAMomentOfDamage) {
  const Bytes without = cluster_of(header_of(GetParam(), std::nullopt));
  expect_safe(without, kOne, false);
  expect_safe(after_, kTwo, false);
  expect_safe(after_, std::nullopt, false);
  EXPECT_EQ(parse_header(after_)->bitmaps, std::nullopt) << "it is out of the header altogether";
  expect_safe(after_, kTwo, false);
}

TEST_P(BitmapHeader, ThatQemuWroteIsChangedAndRemoved) {
  const Bytes with = cluster_of(header_of(GetParam(), kOne));
  expect_safe(with, kTwo, false);
  // Behind it, what nobody knows moves.
  expect_safe(after_, std::nullopt, GetParam().unknown);
  EXPECT_EQ(parse_header(after_)->bitmaps, std::nullopt);
}

TEST_P(BitmapHeader, ThatIsNotTrustedIsReplaced) {
  Header header = header_of(GetParam(), kOne);
  header.autoclear_features = 0;
  const Bytes stale = cluster_of(header);
  expect_safe(stale, kTwo, false);
  expect_safe(stale, std::nullopt, GetParam().unknown);
  EXPECT_EQ(parse_header(after_)->bitmaps, std::nullopt);
}

TEST_P(BitmapHeader, NothingIsWrittenWhereNothingChanges) {
  EXPECT_TRUE(plan_bitmaps_extension(cluster_of(header_of(GetParam(), kOne)), kOne)->empty());
  EXPECT_TRUE(plan_bitmaps_extension(cluster_of(header_of(GetParam(), std::nullopt)), std::nullopt)
                  ->empty());
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, BitmapHeader,
    testing::Values(Shape{"plain"}, Shape{"c512", 9}, Shape{"c512_name", 9, 100}, Shape{"c1k", 10},
                    Shape{"c1k_name", 10, 300}, Shape{"c4k_name", 12, 1023}, Shape{"name", 16, 40},
                    Shape{"long_name", 16, 1023}, Shape{"name_format", 16, 900, 5},
                    Shape{"across_sectors", 12, 0, 368}, Shape{"across_sectors_2", 12, 0, 376},
                    Shape{"across_sectors_name", 12, 700, 368}, Shape{"mark_at_end", 12, 9, 384},
                    Shape{"unknown", 16, 0, 0, true}, Shape{"unknown_name", 16, 800, 5, true},
                    Shape{"c2M", 21, 1023, 5, true}),
    [](const auto& shape) { return shape.param.name; });

TEST(BitmapHeaderSteps, AChangeWithinOneSectorIsOneStep) {
  const Bytes with = cluster_of(header_of({"plain"}, kOne));
  EXPECT_EQ(plan_bitmaps_extension(with, kTwo)->size(), 1U);
}

TEST(BitmapHeaderSteps, AHeaderInOneSectorChangesByOneStep) {
  const Bytes without = cluster_of(header_of({"c512", 9, 100}, std::nullopt));
  EXPECT_EQ(plan_bitmaps_extension(without, kOne)->size(), 1U);
  const Bytes with = cluster_of(header_of({"c512", 9, 100}, kOne));
  EXPECT_EQ(plan_bitmaps_extension(with, std::nullopt)->size(), 1U);
}

TEST(BitmapHeaderSteps, WithoutRoomThereIsAnError) {
  for (const Shape& shape : {Shape{"c512", 9, 370}, Shape{"c1k", 10, 600}}) {
    const auto steps = plan_bitmaps_extension(cluster_of(header_of(shape, std::nullopt)), kOne);
    ASSERT_FALSE(steps);
    EXPECT_EQ(steps.error().kind(), ErrorKind::no_space);
  }
}

TEST(BitmapHeaderSteps, Version2HasNoBitmaps) {
  Header header = header_of({"c4k", 12}, std::nullopt);
  header.version = 2;
  const auto steps = plan_bitmaps_extension(cluster_of(header), kOne);
  ASSERT_FALSE(steps);
  EXPECT_EQ(steps.error().kind(), ErrorKind::unsupported);
}

TEST(BitmapHeaderSteps, ExtensionsWithoutAnEndMarkAreLeftAlone) {
  Bytes cluster = cluster_of(header_of({"c4k", 12, 30}, std::nullopt));
  const be64 right_behind = 112;
  std::memcpy(cluster.data() + 8, &right_behind, sizeof right_behind);
  EXPECT_EQ(plan_bitmaps_extension(cluster, kOne).error().kind(), ErrorKind::unsupported);
}

}  // namespace
}  // namespace platter::qcow2
