#include "src/cli/arguments.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

constexpr Option kOptions[] = {
    {'h', "help", "", "help"},
    {'f', "", "FMT", "letter only, with an argument"},
    {'o', "", "OPTIONS", "may be given several times"},
    {'p', "", "", "letter only"},
    {'q', "quiet", "", "both"},
    {0, "output", "FORMAT", "long only, with an argument"},
    {0, "shrink", "", "long only"},
    {0, "preallocation", "MODE", "long only"},
};

using Words = std::vector<std::string>;

Arguments parse(const Words& words) {
  Result<Arguments> arguments = Arguments::parse(kOptions, words);
  EXPECT_TRUE(arguments) << arguments.error().message();
  return arguments ? *std::move(arguments) : Arguments();
}

std::string error(const Words& words) {
  const Result<Arguments> arguments = Arguments::parse(kOptions, words);
  EXPECT_FALSE(arguments);
  if (arguments) return {};
  EXPECT_EQ(arguments.error().kind(), ErrorKind::invalid_argument);
  return arguments.error().message();
}

TEST(Arguments, AnUnknownOptionIsToldAsItWasGiven) {
  std::string unknown;
  EXPECT_FALSE(Arguments::parse(kOptions, {"a", "--outptu=json"}, &unknown));
  EXPECT_EQ(unknown, "--outptu=json");
  unknown.clear();
  EXPECT_FALSE(Arguments::parse(kOptions, {"--output"}, &unknown));  // known, without its argument
  EXPECT_EQ(unknown, "");
}

TEST(Arguments, NothingGivenIsNothingKnown) {
  const Arguments arguments = parse({});
  EXPECT_FALSE(arguments.has("help"));
  EXPECT_EQ(arguments.value("f"), "");
  EXPECT_EQ(arguments.value("f", "raw"), "raw");
  EXPECT_TRUE(arguments.values("o").empty());
  EXPECT_TRUE(arguments.positional().empty());
}

TEST(Arguments, OptionsAndOperandsComeInAnyOrder) {
  const Arguments arguments = parse({"one", "-f", "raw", "two", "-p", "three", "--shrink"});
  EXPECT_EQ(arguments.positional(), (Words{"one", "two", "three"}));
  EXPECT_EQ(arguments.value("f"), "raw");
  EXPECT_TRUE(arguments.has("p"));
  EXPECT_TRUE(arguments.has("shrink"));
  EXPECT_FALSE(arguments.has("quiet"));
}

TEST(Arguments, AnOptionIsKnownByItsLongNameIfItHasOne) {
  EXPECT_TRUE(parse({"-q"}).has("quiet"));
  EXPECT_TRUE(parse({"--quiet"}).has("quiet"));
  EXPECT_FALSE(parse({"-q"}).has("q"));
}

TEST(Arguments, LettersMayBeClustered) {
  const Arguments arguments = parse({"-pqfraw", "x"});
  EXPECT_TRUE(arguments.has("p"));
  EXPECT_TRUE(arguments.has("quiet"));
  EXPECT_EQ(arguments.value("f"), "raw");
  EXPECT_EQ(arguments.positional(), Words{"x"});
}

TEST(Arguments, LongNamesMayBeShortenedAndHaveAnEqualsSign) {
  EXPECT_EQ(parse({"--output=json"}).value("output"), "json");
  EXPECT_EQ(parse({"--output", "json"}).value("output"), "json");
  EXPECT_EQ(parse({"--out=json"}).value("output"), "json");
  EXPECT_EQ(parse({"--output="}).value("output", "human"), "");
  EXPECT_TRUE(parse({"--shr"}).has("shrink"));
}

TEST(Arguments, TheLastValueCountsAndAllAreKept) {
  const Arguments arguments = parse({"-o", "a=1", "-o", "b=2", "-f", "x", "-f", "raw"});
  EXPECT_EQ(arguments.values("o"), (Words{"a=1", "b=2"}));
  EXPECT_EQ(arguments.value("f"), "raw");
}

TEST(Arguments, TwoDashesEndTheOptions) {
  const Arguments arguments = parse({"-p", "--", "-q", "--shrink", "--"});
  EXPECT_EQ(arguments.positional(), (Words{"-q", "--shrink", "--"}));
  EXPECT_FALSE(arguments.has("quiet"));
}

TEST(Arguments, ADashAloneIsAnOperand) {
  EXPECT_EQ(parse({"-"}).positional(), Words{"-"});
  EXPECT_EQ(parse({""}).positional(), Words{""});
}

TEST(Arguments, AnArgumentMayLookLikeAnOption) {
  EXPECT_EQ(parse({"-f", "-p"}).value("f"), "-p");
  EXPECT_EQ(parse({"--output", "--shrink"}).value("output"), "--shrink");
}

TEST(Arguments, WhatIsUnknownIsNamed) {
  EXPECT_EQ(error({"--nonsense"}), "unrecognized option '--nonsense'");
  EXPECT_EQ(error({"-x"}), "unrecognized option '-x'");
  EXPECT_EQ(error({"file", "--nonsense", "other"}), "unrecognized option '--nonsense'");
  EXPECT_EQ(error({"--shrink=yes"}), "unrecognized option '--shrink=yes'");
}

TEST(Arguments, AMissingArgumentIsNamed) {
  EXPECT_EQ(error({"-f"}), "missing argument for option '-f'");
  EXPECT_EQ(error({"file", "--output"}), "missing argument for option '--output'");
}

TEST(Arguments, AnOperandCanBeAdded) {
  Arguments arguments = parse({"image"});
  arguments.append("-1G");
  EXPECT_EQ(arguments.positional(), (Words{"image", "-1G"}));
}

TEST(Arguments, ParsingIsRepeatable) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(Arguments::parse(kOptions, {"a", "-pz"}));
    EXPECT_EQ(parse({"a", "-pq", "b"}).positional(), (Words{"a", "b"}));
  }
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

Pairs options_of(const Words& lists) {
  const Result<std::vector<CreateOption>> options = parse_create_options(lists);
  EXPECT_TRUE(options) << options.error().message();
  Pairs pairs;
  if (options) {
    for (const CreateOption& option : *options) pairs.emplace_back(option.name, option.value);
  }
  return pairs;
}

TEST(CreateOptionLists, NamesAndValuesKeepTheirOrder) {
  EXPECT_EQ(options_of({}), Pairs{});
  EXPECT_EQ(options_of({"size=1G"}), (Pairs{{"size", "1G"}}));
  EXPECT_EQ(options_of({"a=1,b=2", "a=3"}), (Pairs{{"a", "1"}, {"b", "2"}, {"a", "3"}}));
  EXPECT_EQ(options_of({"a=b=c"}), (Pairs{{"a", "b=c"}}));
  EXPECT_EQ(options_of({"a="}), (Pairs{{"a", ""}}));
}

TEST(CreateOptionLists, ANameAloneIsOn) {
  EXPECT_EQ(options_of({"nocow,size=1"}), (Pairs{{"nocow", "on"}, {"size", "1"}}));
}

TEST(CreateOptionLists, TwoCommasAreOne) {
  EXPECT_EQ(options_of({"file=a,,b,size=1"}), (Pairs{{"file", "a,b"}, {"size", "1"}}));
  EXPECT_EQ(options_of({"file=a,,"}), (Pairs{{"file", "a,"}}));
  // Within a value: a name ends at the first one.
  EXPECT_EQ(options_of({"a,,b=c"}), (Pairs{{"a", "on"}, {"", "on"}, {"b", "c"}}));
}

TEST(CreateOptionLists, LoneCommasAtTheEndsAreSlips) {
  for (const char* list : {"", ",", ",a=1", "a=1,"}) {
    const auto options = parse_create_options({list});
    ASSERT_FALSE(options) << list;
    EXPECT_EQ(options.error().message(), "Invalid option list: " + std::string(list));
  }
}

TEST(CreateOptionLists, HelpIsAskedForByName) {
  EXPECT_TRUE(asks_for_help({"help"}));
  EXPECT_TRUE(asks_for_help({"?"}));
  EXPECT_TRUE(asks_for_help({"size=1", "nocow,help"}));
  EXPECT_FALSE(asks_for_help({"help=no"}));
  EXPECT_FALSE(asks_for_help({"size=1"}));
  EXPECT_FALSE(asks_for_help({}));
}

}  // namespace
}  // namespace platter::cli
