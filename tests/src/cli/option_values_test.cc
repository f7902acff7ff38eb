#include "src/cli/option_values.h"

#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "src/cli/image_arguments.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

using Choices = std::vector<std::string_view>;

TEST(OptionValues, AreToldByTheNameOfTheArgument) {
  EXPECT_EQ(option_values("FILE").kind, ValueKind::file);
  EXPECT_EQ(option_values("DIR").kind, ValueKind::folder);
  EXPECT_EQ(option_values("OPTIONS").kind, ValueKind::create_options);
  EXPECT_EQ(option_values("SIZE").kind, ValueKind::text);
  EXPECT_EQ(option_values("FORMAT").choices, (Choices{"human", "json"}));
}

TEST(OptionValues, CanBeSpelledOut) {
  const OptionValues values = option_values("off|falloc|full");
  EXPECT_EQ(values.kind, ValueKind::choice);
  EXPECT_EQ(values.choices, (Choices{"off", "falloc", "full"}));
}

TEST(OptionValues, OfferOnlyFormatsThatAreTaken) {
  ASSERT_EQ(option_values("FMT").kind, ValueKind::choice);
  for (const std::string_view format : option_values("FMT").choices) {
    EXPECT_TRUE(check_target_format(std::string(format))) << format;
  }
}

TEST(OptionValues, OfferOnlyCacheModesThatThereAre) {
  ASSERT_EQ(option_values("CACHE").kind, ValueKind::choice);
  for (const std::string_view mode : option_values("CACHE").choices) {
    EXPECT_TRUE(parse_cache_mode(mode)) << mode;
  }
}

}  // namespace
}  // namespace platter::cli
