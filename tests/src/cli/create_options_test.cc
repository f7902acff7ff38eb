#include "src/cli/create_options.h"

#include <string>

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

CreateOptionValues values_of(std::string_view format, const std::vector<CreateOption>& given) {
  CreateOptionValues values = CreateOptionValues::of_format(format);
  const Result<void> set = values.set(given);
  EXPECT_TRUE(set) << set.error().message();
  return values;
}

std::string refusal(const CreateOption& option) {
  CreateOptionValues values = CreateOptionValues::of_format("qcow2");
  const Result<void> set = values.set({option});
  return set ? "accepted" : set.error().message();
}

std::string meaning(const std::vector<CreateOption>& given) {
  const auto options = qcow2_options_of(values_of("qcow2", given));
  return options ? "accepted" : options.error().message();
}

TEST(CreateOptionValues, AreReadByTheirType) {
  const auto values = values_of("qcow2", {{"cluster_size", "4k"},
                                          {"refcount_bits", " 0x20"},
                                          {"extended_l2", "yes"},
                                          {"data_file", "a,b"}});
  EXPECT_EQ(values.number("cluster_size"), 4096U);
  EXPECT_EQ(values.number("refcount_bits"), 32U);
  EXPECT_EQ(values.boolean("extended_l2"), true);
  EXPECT_EQ(values.text("data_file"), "a,b");
  EXPECT_FALSE(values.has("size"));
}

TEST(CreateOptionValues, TheLastOfAKindCounts) {
  const auto values = values_of("qcow2", {{"cluster_size", "4k"}, {"cluster_size", "8k"}});
  EXPECT_EQ(values.number("cluster_size"), 8192U);
}

TEST(CreateOptionValues, WhatCanNotBeReadIsRefusedInQemusWords) {
  EXPECT_EQ(refusal({"foo", "x"}), "Invalid parameter 'foo'");
  EXPECT_EQ(refusal({"refcount_bits", "1k"}), "Parameter 'refcount_bits' expects a number");
  EXPECT_EQ(refusal({"refcount_bits", ""}), "Parameter 'refcount_bits' expects a number");
  EXPECT_EQ(refusal({"refcount_bits", "99999999999999999999"}),
            "Value '99999999999999999999' is too large for parameter 'refcount_bits'");
  EXPECT_EQ(refusal({"extended_l2", "1"}), "Parameter 'extended_l2' expects 'on' or 'off'");
  EXPECT_TRUE(refusal({"cluster_size", "x"}).starts_with("Parameter 'cluster_size' expects a non"));
}

TEST(CreateOptionValues, AreShownInAFixedOrderWithDefaults) {
  EXPECT_EQ(values_of("raw", {{"preallocation", "full"}, {"nocow", "off"}, {"size", "1k"}}).shown(),
            " size=1024 nocow=off preallocation=full");
  EXPECT_EQ(values_of("qcow2", {{"nocow", "on"}, {"backing_file", "a,b"}, {"refcount_bits", "-1"}})
                .shown(),
            " cluster_size=65536 extended_l2=off compression_type=zlib backing_file=a,,b"
            " lazy_refcounts=off refcount_bits=-1 nocow=on");
}

TEST(CreateOptionValues, WordsBecomeOptionsOrAreRefusedInQemusOrder) {
  EXPECT_EQ(meaning({}), "accepted");
  EXPECT_EQ(meaning({{"compat", "v2"}, {"preallocation", "full"}, {"compression_type", "zstd"}}),
            "accepted");
  EXPECT_EQ(meaning({{"compression_type", "x"}, {"preallocation", "y"}, {"compat", "z"}}),
            "Parameter 'version' does not accept value 'z'");
  EXPECT_EQ(meaning({{"compression_type", "x"}, {"preallocation", "y"}}),
            "Parameter 'preallocation' does not accept value 'y'");
  EXPECT_EQ(meaning({{"compression_type", "x"}}),
            "Parameter 'compression-type' does not accept value 'x'");
  EXPECT_EQ(meaning({{"backing_fmt", "x"}}), "Parameter 'backing-fmt' does not accept value 'x'");
}

TEST(CreateOptionValues, EncryptionIsRefusedByName) {
  EXPECT_EQ(meaning({{"encryption", "off"}}), "accepted");
  EXPECT_EQ(meaning({{"encryption", "on"}}),
            "Parameter 'encryption': encrypted images can't be made yet");
  EXPECT_EQ(meaning({{"encrypt.key-secret", "s"}}),
            "Parameter 'encrypt.key-secret': encrypted images can't be made yet");
}

TEST(CreateOptionValues, HelpNamesTheFilesOptionsOnlyWithAFile) {
  const auto raw = CreateOptionValues::of_format("raw");
  EXPECT_EQ(raw.help(false).find("nocow"), std::string::npos);
  EXPECT_NE(raw.help(true).find("nocow"), std::string::npos);
}

}  // namespace
}  // namespace platter::cli
