#include "src/cli/dump_output.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace platter::cli {
namespace {

std::string written(bool json) {
  std::string text;
  DumpOutput output(json, [&text](std::string_view part) { text += part; });
  output.begin();
  output.field("name", std::string("a\n\"\xff"));
  output.begin_section("empty");
  output.end_section();
  output.begin_section("section");
  output.begin_rows("none");
  output.end_rows();
  output.begin_rows("rows");
  output.row({{"at", Hex{255}}, {"nothing", Nothing{}}, {"problems", std::vector<std::string>{}}});
  output.row(
      {{"at", std::uint64_t{7}}, {"yes", true}, {"list", std::vector<std::string>{"x", "y"}}});
  output.end_rows();
  output.field("last", false);
  output.end_section();
  output.end();
  EXPECT_EQ(output.rows(), 2U);
  return text;
}

TEST(DumpOutput, JsonIsOneDocument) {
  const auto json = nlohmann::json::parse(written(true));
  EXPECT_EQ(json["name"], "a\n\"\uFFFD");
  EXPECT_EQ(json["empty"], nlohmann::json::object());
  EXPECT_EQ(json["section"]["none"], nlohmann::json::array());
  EXPECT_EQ(
      json["section"]["rows"][0],
      (nlohmann::json{{"at", 255}, {"nothing", nullptr}, {"problems", nlohmann::json::array()}}));
  EXPECT_EQ(json["section"]["rows"][1]["list"], (nlohmann::json{"x", "y"}));
  EXPECT_EQ(json["section"]["last"], false);
}

TEST(DumpOutput, TextLeavesOutWhatSaysNothing) {
  EXPECT_EQ(written(false),
            "name: a\\x0a\"\xff\n"
            "empty:\n"
            "section:\n"
            "    none:\n"
            "    rows:\n"
            "        at 0xff\n"
            "        at 7  yes yes  list x; y\n"
            "    last: no\n");
}

}  // namespace
}  // namespace platter::cli
