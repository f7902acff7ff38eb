#include "src/cli/manual.h"

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

TEST(RoffText, IsNeverARequest) {
  EXPECT_EQ(roff_text(".SH x"), "\\&.SH x");
  EXPECT_EQ(roff_text("'x"), "\\&\\(aqx");
  EXPECT_EQ(roff_text("one.\n.two"), "one.\n\\&.two");
}

TEST(RoffText, ShowsEveryCharacterAsItIsTyped) {
  EXPECT_EQ(roff_text("a\\b"), "a\\eb");
  EXPECT_EQ(roff_text("--size"), "\\-\\-size");
  EXPECT_EQ(roff_text("^~`"), "\\(ha\\(ti\\(ga");
}

TEST(VerbManual, HasWhatTheTableHas) {
  constexpr Option kOptions[] = {{'f', "", "FMT", "a format"}, {0, "long", "", ".dotted"}};
  constexpr ExitCode kExits[] = {{7, "seven"}};
  constexpr Example kExamples[] = {{"try -f raw x", "an attempt"}};
  const std::string page = verb_manual({.name = "try",
                                        .operands = "FILENAME",
                                        .help = "Tries",
                                        .options = kOptions,
                                        .run = nullptr,
                                        .description = "One.\n\nTwo.",
                                        .exit_codes = kExits,
                                        .examples = kExamples});
  for (const std::string_view part :
       {".TH PLATTER\\-TRY 1 ", "platter\\-try \\- tries\n", "\\fB\\-f\\fR \\fIFMT\\fR\na format\n",
        "\\fB\\-\\-long\\fR\n\\&.dotted\n", "One.\n.PP\nTwo.\n", "\\fB7\\fR\nseven\n",
        "\\fBplatter try \\-f raw x\\fR\nan attempt\n", ".BR platter\\-convert (1)"}) {
    EXPECT_NE(page.find(part), std::string::npos) << part << "\n" << page;
  }
}

TEST(VerbManual, EveryVerbIsDescribedAndShownInUse) {
  for (const Verb* const verb : verbs()) {
    EXPECT_FALSE(verb->description.empty()) << verb->name;
    ASSERT_FALSE(verb->examples.empty()) << verb->name;
    for (const Example& example : verb->examples) {
      EXPECT_TRUE(example.command.starts_with(verb->name)) << example.command;
    }
  }
}

}  // namespace
}  // namespace platter::cli
