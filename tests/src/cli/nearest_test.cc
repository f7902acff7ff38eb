#include "src/cli/nearest.h"

#include <string>

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

constexpr std::string_view kVerbs[] = {"amend",  "check",   "compare", "convert",
                                       "create", "measure", "resize",  "snapshot"};

std::string nearest_verb(std::string_view word) {
  return std::string(nearest(word, kVerbs).value_or("nothing"));
}

TEST(TypingDistance, CountsLettersLeftOutPutInReplacedAndSwapped) {
  EXPECT_EQ(typing_distance("", ""), 0U);
  EXPECT_EQ(typing_distance("same", "same"), 0U);
  EXPECT_EQ(typing_distance("", "four"), 4U);
  EXPECT_EQ(typing_distance("four", ""), 4U);
  EXPECT_EQ(typing_distance("convrt", "convert"), 1U);
  EXPECT_EQ(typing_distance("convvert", "convert"), 1U);
  EXPECT_EQ(typing_distance("konvert", "convert"), 1U);
  EXPECT_EQ(typing_distance("covnert", "convert"), 1U);
  EXPECT_EQ(typing_distance("trevnoc", "convert"), 6U);
}

TEST(Nearest, FindsWhatAMistypedWordWasMeantToBe) {
  EXPECT_EQ(nearest_verb("convrt"), "convert");
  EXPECT_EQ(nearest_verb("covnert"), "convert");
  EXPECT_EQ(nearest_verb("snapshots"), "snapshot");
  EXPECT_EQ(nearest_verb("craete"), "create");
}

TEST(Nearest, TakesTheBeginningOfAWordForThatWord) {
  EXPECT_EQ(nearest_verb("snap"), "snapshot");
  EXPECT_EQ(nearest_verb("co"), "compare");
}

TEST(Nearest, SaysNothingWhereNothingIsAlike) {
  EXPECT_EQ(nearest_verb("frobnicate"), "nothing");
  EXPECT_EQ(nearest_verb("INFO"), "nothing");
  EXPECT_EQ(nearest_verb("c"), "nothing");
  EXPECT_EQ(nearest_verb(""), "nothing");
  EXPECT_FALSE(nearest("convert", {}));
}

TEST(DidYouMean, EndsAMessageOrAddsNothing) {
  EXPECT_EQ(did_you_mean("convrt", kVerbs), ". Did you mean 'convert'?");
  EXPECT_EQ(did_you_mean("frobnicate", kVerbs), "");
}

TEST(Nearest, DoesNotLookAtWordsOfAnyLength) {
  EXPECT_EQ(nearest_verb(std::string(1 << 20, 'x')), "nothing");
}

}  // namespace
}  // namespace platter::cli
