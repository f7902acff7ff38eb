#include "formats/qcow2/header_change.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "tests/formats/qcow2/torn_header.h"

namespace platter::qcow2 {
namespace {

using test::cluster_of;
using Bytes = std::vector<std::byte>;

struct Shape {
  std::string name;
  unsigned version = 3;
  unsigned cluster_bits = 16;
  std::size_t backing_name = 0;    // bytes; 0: none
  std::size_t backing_format = 0;  // the same
  std::size_t data_file = 0;       // the same
  std::size_t unknown = 0;         // bytes of an extension that nobody knows
};

Header header_of(const Shape& shape) {
  Header header;
  header.version = shape.version;
  header.cluster_bits = shape.cluster_bits;
  header.size = 1 * kMiB;
  header.l1_size = 4096;
  header.l1_table_offset = std::uint64_t{3} << shape.cluster_bits;
  header.refcount_table_offset = std::uint64_t{1} << shape.cluster_bits;
  header.refcount_table_clusters = 1;
  if (shape.backing_name > 0) header.backing_file = std::string(shape.backing_name, 'n');
  if (shape.backing_format > 0) header.backing_format = std::string(shape.backing_format, 'f');
  if (shape.data_file > 0) header.data_file = std::string(shape.data_file, 'd');
  if (shape.unknown > 0) {
    header.unknown_extensions.push_back({0x12345678, Bytes(shape.unknown, std::byte{9})});
    header.unknown_extensions.push_back({0x12345679, Bytes(21)});
  }
  return header;
}

// Every state that a crash can leave on the way is the one header or the other.
void expect_safe(const Bytes& before, const Header& wanted) {
  const Header old = parse_header(before).value();
  const auto steps = plan_header_change(before, wanted);
  ASSERT_TRUE(steps) << steps.error().message();
  Bytes now = before;
  for (const HeaderStep& step : *steps) {
    test::tear(step, 12, now, [&](const Bytes& state) {
      const Result<Header> seen = parse_header(state);
      ASSERT_TRUE(seen) << seen.error().message();
      EXPECT_TRUE(*seen == old || *seen == wanted);
    });
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(now, cluster_of(wanted)) << "and nothing is left of the way";
}

std::vector<Shape> shapes() {
  return {{"version 2", 2},
          {"version 3"},
          {"version 2 with a name", 2, 16, 100, 3},
          {"version 2 with a long name", 2, 16, 1023, 5},
          {"a name", 3, 16, 40},
          {"a name and a format", 3, 16, 900, 5},
          {"a long format", 3, 16, 900, 376},
          {"a data file", 3, 16, 0, 0, 1},
          {"another data file", 3, 16, 0, 0, 9},
          {"a long data file", 3, 16, 0, 0, 3000},
          {"all of it", 3, 16, 1023, 5, 200, 500},
          {"unknown extensions", 3, 16, 0, 0, 0, 1500},
          {"unknown extensions in version 2", 2, 16, 0, 0, 0, 1500}};
}

TEST(HeaderChange, LeavesNoMomentWithoutAHeader) {
  for (const Shape& from : shapes()) {
    for (const Shape& to : shapes()) {
      SCOPED_TRACE(from.name + " -> " + to.name);
      expect_safe(cluster_of(header_of(from)), header_of(to));
    }
  }
}

TEST(HeaderChange, InSmallClustersIsOneStep) {
  for (const unsigned bits : {9U, 12U}) {
    const Bytes before = cluster_of(header_of({"v2", 2, bits, 100, 3}));
    const auto steps = plan_header_change(before, header_of({"v3", 3, bits, 100, 3}));
    ASSERT_TRUE(steps);
    EXPECT_EQ(steps->size(), 1U);
    expect_safe(before, header_of({"v3", 3, bits, 100, 3}));
  }
}

TEST(HeaderChange, ToTheSameIsNoStep) {
  for (const Shape& shape : shapes()) {
    EXPECT_TRUE(plan_header_change(cluster_of(header_of(shape)), header_of(shape))->empty());
  }
}

TEST(HeaderChange, WithoutRoomThereIsAnErrorAndNoStep) {
  // No room for the new one; room for it, but not beside the old one.
  for (const auto& [from, to] : {std::pair(Shape{"", 3, 9, 300}, Shape{"", 3, 9, 400}),
                                 std::pair(Shape{"", 3, 10, 800}, Shape{"", 3, 10, 800, 5})}) {
    const auto steps = plan_header_change(cluster_of(header_of(from)), header_of(to));
    ASSERT_FALSE(steps);
    EXPECT_EQ(steps.error().kind(), ErrorKind::no_space);
  }
}

TEST(HeaderChange, FieldsThatFillTheFirstSectorCanNotBePassed) {
  Header from = header_of({"", 3, 16, 600});
  from.unknown_fields.resize(512);
  Header to = from;
  to.backing_format = "raw";
  const auto steps = plan_header_change(cluster_of(from), to);
  ASSERT_FALSE(steps);
  EXPECT_EQ(steps.error().kind(), ErrorKind::unsupported);
}

TEST(HeaderChange, AnExtensionOfZeroesIsLookedAtToItsEnd) {
  Header from = header_of({"", 3, 16, 600});
  from.unknown_extensions.push_back({0x1234, Bytes(2000)});
  from.backing_file.reset();
  Header to = from;
  to.data_file = "other";
  const Bytes before = cluster_of(from);
  const auto steps = plan_header_change(before, to);
  ASSERT_TRUE(steps);
  expect_safe(before, to);
}

}  // namespace
}  // namespace platter::qcow2
