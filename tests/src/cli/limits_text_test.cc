#include "src/cli/limits_text.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "src/cli/info_text.h"
#include "src/cli/json_text.h"

namespace platter::cli {
namespace {

constexpr BlockLimits kFile{.iov_max = 1024, .memory_alignment_best = 4096};
constexpr BlockLimits kDevice{.request_alignment = 512,
                              .discard_alignment = 4096,
                              .write_zeroes_alignment = 65536,
                              .hardware_transfer_max = 1310720,
                              .iov_max = 1024,
                              .hardware_iov_max = 128,
                              .memory_alignment_min = 512,
                              .memory_alignment_best = 4096};

TEST(LimitsText, LeavesOutWhatIsNotKnown) {
  EXPECT_EQ(limits_text(kFile),
            "Block limits:\n"
            "    request alignment: 1\n"
            "    min mem alignment: 1\n"
            "    opt mem alignment: 4096\n"
            "    max iov: 1024\n");
  EXPECT_EQ(json_text(limits_json(kFile)),
            "{\n"
            "    \"request-alignment\": 1,\n"
            "    \"min-mem-alignment\": 1,\n"
            "    \"opt-mem-alignment\": 4096,\n"
            "    \"max-iov\": 1024\n"
            "}\n");
}

TEST(LimitsText, TellsAllOfADevice) {
  EXPECT_EQ(limits_text(kDevice),
            "Block limits:\n"
            "    write zeroes alignment: 65536\n"
            "    request alignment: 512\n"
            "    min mem alignment: 512\n"
            "    max hw transfer: 1310720\n"
            "    discard alignment: 4096\n"
            "    opt mem alignment: 4096\n"
            "    max iov: 1024\n"
            "    max hw iov: 128\n");
}

TEST(LimitsText, StandsBeforeSnapshotsAndWhatTheFormatHas) {
  ImageInfo info;
  info.format = "qcow2";
  info.snapshots.emplace_back();
  info.qcow2 = Qcow2Info();
  ToldImage told{.info = std::move(info), .limits = std::nullopt};
  EXPECT_EQ(info_text(told).find("Block limits"), std::string::npos);
  EXPECT_FALSE(info_json({told}, false).contains("limits"));
  told.limits = kFile;
  const std::string text = info_text(told);
  EXPECT_LT(text.find("disk size:"), text.find("Block limits:"));
  EXPECT_LT(text.find("Block limits:"), text.find("Snapshot list:"));
  EXPECT_LT(text.find("Snapshot list:"), text.find("Format specific"));
  EXPECT_TRUE(info_json({told}, false).starts_with("{\n    \"limits\": {\n"));
}

}  // namespace
}  // namespace platter::cli
