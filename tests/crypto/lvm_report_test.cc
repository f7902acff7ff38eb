#include "crypto/lvm_report.h"

#include <gtest/gtest.h>

namespace platter {
namespace {

std::string volume_row(const std::string& layout, const std::string& role,
                       const std::string& size = "4194304") {
  return R"({"lv_name":"a","lv_uuid":"u","lv_size":")" + size + R"(","lv_layout":")" + layout +
         R"(","lv_role":")" + role +
         R"(","lv_active":"active","pool_lv":"","origin":"","data_percent":"12.50",)"
         R"("metadata_percent":"","lv_kernel_major":"253","lv_kernel_minor":"7"})";
}

std::string report(const std::string& kind, const std::string& rows) {
  return R"({"report":[{")" + kind + R"(":[)" + rows + "]}]}";
}

TEST(LvmReport, ARowIsAVolume) {
  const auto volumes = parse_volume_report(report("lv", volume_row("linear", "public")));
  ASSERT_TRUE(volumes) << volumes.error().message();
  ASSERT_EQ(volumes->size(), 1U);
  const VolumeInfo& volume = volumes->front();
  EXPECT_EQ(volume.name, "a");
  EXPECT_EQ(volume.size, 4194304U);
  EXPECT_EQ(volume.kind, VolumeKind::linear);
  EXPECT_TRUE(volume.active);
  EXPECT_EQ(volume.data_percent, 12.5);
  EXPECT_FALSE(volume.metadata_percent);
  EXPECT_EQ(volume.major, 253U);
  EXPECT_EQ(volume.minor, 7U);
}

TEST(LvmReport, LayoutAndRoleTellTheKind) {
  const auto kind = [](const std::string& layout, const std::string& role) {
    const auto volumes = parse_volume_report(report("lv", volume_row(layout, role)));
    return volumes ? volumes->front().kind : VolumeKind::other;
  };
  EXPECT_EQ(kind("linear", "public,origin,thickorigin"), VolumeKind::linear);
  EXPECT_EQ(kind("linear", "public,snapshot,thicksnapshot"), VolumeKind::snapshot);
  EXPECT_EQ(kind("thin,pool", "private"), VolumeKind::thin_pool);
  EXPECT_EQ(kind("thin,sparse", "public"), VolumeKind::thin);
  EXPECT_EQ(kind("thin,sparse", "public,snapshot,thinsnapshot"), VolumeKind::thin);
  EXPECT_EQ(kind("raid,raid1", "public"), VolumeKind::other);
}

TEST(LvmReport, SeveralGroupsAreOneList) {
  const std::string row =
      R"({"vg_name":"a","vg_uuid":"u","vg_size":"100","vg_free":"40","vg_extent_size":"4"})";
  const auto groups = parse_group_report(report("vg", row + "," + row));
  ASSERT_TRUE(groups);
  EXPECT_EQ(groups->size(), 2U);
  EXPECT_EQ(groups->front().free, 40U);
  EXPECT_TRUE(parse_group_report(report("vg", ""))->empty());
}

TEST(LvmReport, WhatIsNoReportIsAnError) {
  for (const std::string& text :
       {std::string(), std::string("no JSON"), std::string("{}"), std::string("[]"),
        std::string(R"({"report":1})"), report("lv", "1"), report("lv", "{}"),
        report("lv", volume_row("linear", "public", "4k")),
        report("lv", volume_row("linear", "public", "99999999999999999999")),
        report("lv", volume_row("linear", "public")).substr(0, 100)}) {
    const auto volumes = parse_volume_report(text);
    ASSERT_FALSE(volumes) << text;
    EXPECT_EQ(volumes.error().kind(), ErrorKind::io);
  }
}

}  // namespace
}  // namespace platter
