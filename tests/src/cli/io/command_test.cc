#include "src/cli/io/command.h"

#include <set>

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

TEST(Commands, AreFoundByNameAndByAlias) {
  ASSERT_NE(find_command("read"), nullptr);
  EXPECT_EQ(find_command("r"), find_command("read"));
  EXPECT_EQ(find_command("?"), find_command("help"));
  for (const auto* const name : {"", " ", "rea", "READ", "rv"}) {
    EXPECT_EQ(find_command(name), nullptr) << name;
  }
}

TEST(Commands, HaveNamesAndAliasesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const auto group :
       {read_commands(), write_commands(), image_commands(), open_commands(), session_commands()}) {
    for (const Command& command : group) {
      EXPECT_TRUE(names.insert(command.name).second) << command.name;
      if (!command.alias.empty()) EXPECT_TRUE(names.insert(command.alias).second) << command.alias;
      EXPECT_NE(command.run, nullptr) << command.name;
      EXPECT_LE(command.words_min, command.words_max) << command.name;
      // What takes options says so.
      EXPECT_EQ(command.takes_options, !command.letters.empty()) << command.name;
    }
  }
}

TEST(Commands, SayHowManyWordsTheyTake) {
  EXPECT_EQ(wrong_count(*find_command("read"), "r", 1),
            "bad argument count 1 to r, expected at least 2 arguments");
  EXPECT_EQ(wrong_count(*find_command("length"), "length", 1),
            "bad argument count 1 to length, expected 0 arguments");
  EXPECT_EQ(wrong_count(*find_command("alloc"), "alloc", 3),
            "bad argument count 3 to alloc, expected between 1 and 2 arguments");
  EXPECT_EQ(wrong_count(*find_command("read"), "read", 200), "");
}

TEST(Commands, HaveAUsageLine) {
  EXPECT_EQ(usage_line(*find_command("alloc")),
            "alloc offset [count] -- checks if offset is allocated in the file\n");
  EXPECT_EQ(usage_line(*find_command("length")), "length -- gets the length of the current file\n");
  const std::string all = all_usage_lines();
  EXPECT_TRUE(all.starts_with("abort -- "));
  EXPECT_LT(all.find("\nread "), all.find("\nwrite "));
}

}  // namespace
}  // namespace platter::cli
