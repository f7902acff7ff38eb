#include "src/cli/io/numbers.h"

#include <gtest/gtest.h>

namespace platter::cli {
namespace {

std::string number_error(std::string_view text) {
  const Result<std::uint64_t> number = parse_io_number(text);
  EXPECT_FALSE(number) << text;
  return number ? "" : number.error().message();
}

TEST(IoNumber, TakesSuffixesFractionsAndHexadecimals) {
  EXPECT_EQ(parse_io_number("0").value(), 0U);
  EXPECT_EQ(parse_io_number("1.5k").value(), 1536U);
  EXPECT_EQ(parse_io_number("0x200").value(), 512U);
  EXPECT_EQ(parse_io_number("2M").value(), 2097152U);
  EXPECT_EQ(parse_io_number("9223372036854775807").value(), 9223372036854775807U);
}

TEST(IoNumber, WhatIsNoneAndWhatIsTooLargeAreToldApart) {
  for (const auto* const text : {"", "x", "-1", "1kk", "'0'"}) {
    EXPECT_EQ(number_error(text),
              "Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- " +
                  std::string(text));
  }
  for (const auto* const text : {"9223372036854775808", "8E", "16E", "99999999999999999999"}) {
    EXPECT_EQ(number_error(text), "Parsing error: argument too large -- " + std::string(text));
  }
}

TEST(Pattern, IsOneByteInCsNotation) {
  EXPECT_EQ(parse_pattern("0").value(), std::byte{0});
  EXPECT_EQ(parse_pattern("0xa5").value(), std::byte{0xa5});
  EXPECT_EQ(parse_pattern("010").value(), std::byte{8});
  for (const auto* const text : {"", "256", "-1", "1k", "xx"}) {
    const Result<std::byte> pattern = parse_pattern(text);
    ASSERT_FALSE(pattern) << text;
    EXPECT_EQ(pattern.error().message(), std::string(text) + " is not a valid pattern byte");
  }
}

TEST(SizeText, HasThreeDigitsOrNone) {
  EXPECT_EQ(size_text(0), "0 bytes");
  EXPECT_EQ(size_text(512), "512 bytes");
  EXPECT_EQ(size_text(1023), "1023 bytes");
  EXPECT_EQ(size_text(1024), "1 KiB");
  EXPECT_EQ(size_text(1536), "1.500 KiB");
  EXPECT_EQ(size_text(1900544), "1.812 MiB");
  EXPECT_EQ(size_text(1.0 * (1ULL << 62)), "4 EiB");
  EXPECT_EQ(size_text(2.321061), "2.321061 bytes");
}

}  // namespace
}  // namespace platter::cli
