#include "formats/qcow2/check_snapshots.h"

#include <gtest/gtest.h>

namespace platter::qcow2 {
namespace {

using Ranges = std::vector<SharedRange>;

std::string text_of(const Ranges& ranges) {
  std::string text;
  for (const SharedRange& range : ranges) {
    text += std::to_string(range.begin) + "-" + std::to_string(range.end) + "x" +
            std::to_string(range.weight) + "@" + std::to_string(range.first) + " ";
  }
  return text;
}

TEST(Disjoint, RangesApartStayAsTheyAre) {
  EXPECT_EQ(text_of(disjoint(Ranges{{.begin = 10, .end = 20}, {.begin = 0, .end = 5}})),
            "10-20x1@0 0-5x1@1 ");
}

TEST(Disjoint, EqualOnesAreOneWithTheirNumber) {
  EXPECT_EQ(text_of(disjoint(Ranges(65536, {.begin = 8, .end = 16}))), "8-16x65536@0 ");
}

TEST(Disjoint, OverlapsAreCutWhereTheNumberChanges) {
  EXPECT_EQ(text_of(disjoint(Ranges{{.begin = 0, .end = 10}, {.begin = 5, .end = 20}})),
            "0-5x1@0 5-10x2@0 10-20x1@1 ");
}

TEST(Disjoint, NeighboursAndEmptyOnesDoNotMix) {
  EXPECT_EQ(text_of(disjoint(
                Ranges{{.begin = 0, .end = 10}, {.begin = 10, .end = 20}, {.begin = 7, .end = 7}})),
            "0-10x1@0 10-20x1@1 ");
}

}  // namespace
}  // namespace platter::qcow2
