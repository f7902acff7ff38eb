#include "src/cli/io/words.h"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

using Strings = std::vector<std::string>;

Words parse(std::string_view letters, const Strings& words) {
  Result<Words> parsed = parse_words("read", letters, words);
  EXPECT_TRUE(parsed) << parsed.error().message();
  return parsed ? *std::move(parsed) : Words();
}

std::string error(std::string_view letters, const Strings& words) {
  const Result<Words> parsed = parse_words("read", letters, words);
  EXPECT_FALSE(parsed);
  return parsed ? "" : parsed.error().message();
}

std::string options_of(const Words& words) {
  std::string text;
  for (const auto& [letter, value] : words.options) {
    text += letter;
    text += '=' + value + ' ';
  }
  return text;
}

TEST(SplitWords, SpacesSeparateAndNothingElseDoes) {
  EXPECT_EQ(split_words("read 0 512"), (Strings{"read", "0", "512"}));
  EXPECT_EQ(split_words("  read   0  "), (Strings{"read", "0"}));
  EXPECT_EQ(split_words("\tread\t0"), (Strings{"\tread\t0"}));
  EXPECT_EQ(split_words("a \"b c\" # d\\ e"), (Strings{"a", "\"b", "c\"", "#", "d\\", "e"}));
}

TEST(SplitWords, NothingIsNoWord) {
  EXPECT_TRUE(split_words("").empty());
  EXPECT_TRUE(split_words("    ").empty());
}

TEST(ParseWords, OptionsAndOperandsComeInAnyOrder) {
  const Words words = parse("P:qv", {"0", "-q", "512", "-P", "7"});
  EXPECT_EQ(words.operands, (Strings{"0", "512"}));
  EXPECT_EQ(options_of(words), "q= P=7 ");
  EXPECT_TRUE(words.has('q'));
  EXPECT_FALSE(words.has('v'));
}

TEST(ParseWords, LettersClusterAndValuesMayBeAttached) {
  EXPECT_EQ(options_of(parse("P:qv", {"-qvP0x5", "0"})), "q= v= P=0x5 ");
  EXPECT_EQ(options_of(parse("P:q", {"-P", "-q"})), "P=-q ");
}

TEST(ParseWords, TwoDashesEndOptionsAndOneIsAnOperand) {
  const Words words = parse("q", {"-", "--", "-q", "--"});
  EXPECT_EQ(words.operands, (Strings{"-", "-q", "--"}));
  EXPECT_TRUE(words.options.empty());
}

TEST(ParseWords, WhatIsWrongIsToldInGetoptsWords) {
  EXPECT_EQ(error("q", {"-1", "512"}), "read: invalid option -- '1'");
  EXPECT_EQ(error("q", {"-qz"}), "read: invalid option -- 'z'");
  EXPECT_EQ(error("q", {"--quiet"}), "read: invalid option -- '-'");
  EXPECT_EQ(error("P:", {"-:"}), "read: invalid option -- ':'");
  EXPECT_EQ(error("P:", {"0", "-P"}), "read: option requires an argument -- 'P'");
}

TEST(ParseWords, AnyLineComesToAnEnd) {
  std::mt19937 random(7);  // NOLINT(cert-msc51-cpp): the same lines each time
  constexpr std::string_view kBytes = "  --qP:v0k\t\"#";
  for (int round = 0; round < 20000; ++round) {
    std::string line(random() % 24, ' ');
    for (char& byte : line) byte = kBytes[random() % kBytes.size()];
    const Strings words = split_words(line);
    const Result<Words> parsed = parse_words("x", "P:qv", words);
    if (!parsed) continue;
    EXPECT_LE(parsed->operands.size(), words.size()) << line;
  }
}

}  // namespace
}  // namespace platter::cli
