#include "formats/block_options.h"

#include <string>

#include <gtest/gtest.h>

#include "formats/json_reader.h"

namespace platter::test {
namespace {

/// "key=value;..." of what was read.
std::string shown(const Result<BlockOptions>& options) {
  if (!options) return options.error().message();
  std::string text;
  for (const auto& [key, value] : options->all()) text += key + "=" + value.text + ";";
  return text;
}
std::string text(std::string_view given) { return shown(BlockOptions::from_text(given)); }
std::string json(std::string_view given) { return shown(BlockOptions::from_json(given)); }

TEST(BlockOptions, AListOfKeysAndValuesKeepsItsOrder) {
  EXPECT_EQ(text("driver=qcow2,file.filename=disk"), "driver=qcow2;file.filename=disk;");
  EXPECT_EQ(text(""), "");
}

TEST(BlockOptions, TwoCommasAreOneAndTheLastValueOfAKeyCounts) {
  EXPECT_EQ(text("a=x,,y,b=,,"), "a=x,y;b=,;");
  EXPECT_EQ(text("a=1,b=2,a=3"), "a=3;b=2;");
}

TEST(BlockOptions, TheFirstWordMayBeTheFile) {
  EXPECT_EQ(text("disk"), "file=disk;");
  EXPECT_EQ(text(","), "file=;");
}

TEST(BlockOptions, ALaterWordAloneIsABooleanAndToldToBeOutdated) {
  const Result<BlockOptions> options = BlockOptions::from_text("a=1,read-only,nocache");
  EXPECT_EQ(shown(options), "a=1;read-only=on;cache=off;");
  ASSERT_EQ(options->warnings().size(), 2U);
  EXPECT_EQ(options->warnings()[1],
            "short-form boolean option 'nocache' deprecated\nPlease use cache=off instead");
}

TEST(BlockOptions, AnIdIsAnIdentifier) {
  EXPECT_EQ(text("id=a-1.b_"), "id=a-1.b_;");
  EXPECT_TRUE(text("id=1").starts_with("Parameter 'id' expects an identifier\n"));
}

TEST(BlockOptions, NestedJsonBecomesKeysWithDots) {
  EXPECT_EQ(json(R"({"driver":"raw","file":{"driver":"file","a":[1,true,null]}})"),
            "driver=raw;file.driver=file;file.a.0=1;file.a.1=on;file.a.2=;");
  EXPECT_EQ(json(R"({"file":{"filename":"a"},"file.filename":"b"})"), "file.filename=a;");
  EXPECT_EQ(json("{}"), "");
}

TEST(BlockOptions, OnlyAnObjectIsOptions) {
  EXPECT_EQ(json("[]"), "Invalid JSON object given");
  EXPECT_EQ(json("{"), "Could not parse the JSON options: JSON parse error, premature EOI");
}

TEST(BlockOptions, AnEmptyBackingIsOutdated) {
  EXPECT_EQ(BlockOptions::from_text("file.filename=a,backing=")->warnings().size(), 1U);
  EXPECT_TRUE(BlockOptions::from_json(R"({"backing":null})")->warnings().empty());
}

TEST(BlockOptions, WhatIsTakenIsGone) {
  BlockOptions options = *BlockOptions::from_text("file.a=1,filex=2,file.b.c=3,x=on");
  EXPECT_TRUE(options.has_child("file"));
  EXPECT_EQ(shown(options.take_child("file")), "a=1;b.c=3;");
  EXPECT_FALSE(options.has_child("file"));
  EXPECT_EQ(*options.take_boolean("x"), true);
  EXPECT_EQ(*options.take_boolean("x"), std::nullopt);
  EXPECT_EQ(shown(options), "filex=2;");
}

TEST(BlockOptions, ValuesAreCheckedAsTheirTypes) {
  BlockOptions options = *BlockOptions::from_json(R"({"a":5,"b":"1k","c":"x","d":true,"e":1})");
  EXPECT_EQ(options.take_text("a"), std::nullopt);
  EXPECT_EQ(*options.take_size("b"), 1024U);
  EXPECT_FALSE(options.take_size("c"));
  EXPECT_EQ(options.take_boolean("e").error().message(), "Parameter 'e' expects 'on' or 'off'");
}

std::string json_error(std::string_view given) {
  const Result<JsonValue> value = read_json(given);
  EXPECT_FALSE(value) << given;
  return value ? "" : value.error().message();
}

TEST(JsonReader, WrongTextIsToldInQemusWords) {
  EXPECT_EQ(json_error(R"({"a":nul})"), "JSON parse error, invalid keyword 'nul'");
  EXPECT_EQ(json_error(R"({"a" 1})"), "JSON parse error, missing : in object pair");
  EXPECT_EQ(json_error(R"({"a":"x})"), "JSON parse error, stray '\"x}'");
  EXPECT_EQ(json_error(R"({"a":1,"a":2})"), "JSON parse error, duplicate key");
  EXPECT_EQ(json_error("[1 2]"), "JSON parse error, expected separator in list");
  EXPECT_EQ(json_error("01"), "JSON parse error, stray '01'");
  EXPECT_EQ(json_error("-"), "JSON parse error, stray '-'");
  EXPECT_EQ(json_error(""), "Expecting a JSON value");
}

TEST(JsonReader, NestingIsBounded) {
  EXPECT_EQ(json_error(std::string(100'000, '[')), "JSON parse error, nesting too deep");
}

TEST(JsonReader, EscapesAreUtf8AndComeBackAsEscapes) {
  const Result<JsonValue> value = read_json(R"("\u00e4\ud83d\ude00\n'\"")");
  ASSERT_TRUE(value) << value.error().message();
  EXPECT_EQ(value->scalar.text, "\xc3\xa4\xf0\x9f\x98\x80\n'\"");
  EXPECT_EQ(json_quoted(value->scalar.text), R"("\u00E4\uD83D\uDE00\n'\"")");
  EXPECT_EQ(json_quoted("\xff"), R"("\uFFFD")");
  EXPECT_EQ(json_error(R"("\ud800")"),
            "JSON parse error, \\ud800 is not a valid Unicode character");
}

}  // namespace
}  // namespace platter::test
