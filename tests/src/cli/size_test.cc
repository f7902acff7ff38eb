#include "src/cli/size.h"

#include <fcntl.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/unique_fd.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::cli {
namespace {

using test::Command;
using test::CommandResult;
using test::have_program;
using test::run_command;
using test::TempDir;

std::optional<std::uint64_t> parsed(std::string_view text) {
  const Result<std::uint64_t> size = parse_size(text);
  if (!size) return std::nullopt;
  return *size;
}

ErrorKind error(std::string_view text) {
  const Result<std::uint64_t> size = parse_size(text);
  EXPECT_FALSE(size) << text;
  return size ? ErrorKind::io : size.error().kind();
}

TEST(ParseSize, TakesBytesAndSuffixesOfAnyCase) {
  EXPECT_EQ(parsed("0"), 0U);
  EXPECT_EQ(parsed("512"), 512U);
  EXPECT_EQ(parsed("512b"), 512U);
  EXPECT_EQ(parsed("1k"), kKiB);
  EXPECT_EQ(parsed("1K"), kKiB);
  EXPECT_EQ(parsed("2m"), 2 * kMiB);
  EXPECT_EQ(parsed("3G"), 3 * kGiB);
  EXPECT_EQ(parsed("4t"), 4 * kTiB);
  EXPECT_EQ(parsed("5P"), 5 * 1024 * kTiB);
  EXPECT_EQ(parsed("1e"), std::uint64_t{1} << 60);
  EXPECT_EQ(parsed("15E"), std::uint64_t{15} << 60);
}

TEST(ParseSize, AFractionIsRoundedToTheNearestByte) {
  EXPECT_EQ(parsed("1.5k"), 1536U);
  EXPECT_EQ(parsed("1.1k"), 1126U);
  EXPECT_EQ(parsed("0.9999999k"), 1024U);
  EXPECT_EQ(parsed("0.0004k"), 0U);
  EXPECT_EQ(parsed("0.00048828125k"), 1U) << "half a byte";
  EXPECT_EQ(parsed("1.0000000000000000000000000000000001k"), 1024U);
}

TEST(ParseSize, AFractionOfBytesMustBeNone) {
  EXPECT_EQ(parsed("1.0"), 1U);
  EXPECT_EQ(parsed("1."), 1U);
  EXPECT_EQ(parsed("1.b"), 1U);
  EXPECT_EQ(parsed("1.00b"), 1U);
  EXPECT_EQ(error("1.5"), ErrorKind::invalid_argument);
  EXPECT_EQ(error("1.5b"), ErrorKind::invalid_argument);
}

TEST(ParseSize, HexadecimalNumbersHaveNoSuffix) {
  EXPECT_EQ(parsed("0x10"), 16U);
  EXPECT_EQ(parsed("0X1f"), 31U);
  EXPECT_EQ(parsed("0xfe"), 254U);
  EXPECT_EQ(parsed("0xffffffffffffffff"), ~std::uint64_t{0});
  EXPECT_EQ(error("0x10k"), ErrorKind::invalid_argument);
  EXPECT_EQ(error("0x1.8"), ErrorKind::invalid_argument);
  EXPECT_EQ(error("0x"), ErrorKind::invalid_argument);
  EXPECT_EQ(error("0x10000000000000000"), ErrorKind::too_large);
}

TEST(ParseSize, WhatIsNoSizeIsRefused) {
  for (const char* text :
       {"",     " ",   "k",     "-1",   "- 1",   "+",   "1kk", "1KiB", "1 k", "1k ",  "one",
        "1,5k", ".5k", "1..5k", "1.k5", "1.5E1", "1e3", "inf", "nan",  "1\n", "1_000"}) {
    EXPECT_EQ(error(text), ErrorKind::invalid_argument) << text;
  }
  EXPECT_EQ(error(std::string_view("1\0", 2)), ErrorKind::invalid_argument);
}

TEST(ParseSize, WhatDoesNotFitInto64BitsIsTooLarge) {
  EXPECT_EQ(parsed("18446744073709551615"), ~std::uint64_t{0});
  for (const char* text : {"18446744073709551616", "16E", "99999999999999999999999",
                           "15.9999999999999999999999E", "17179869184G"}) {
    EXPECT_EQ(error(text), ErrorKind::too_large) << text;
  }
}

/// What qemu-img takes `text` for; nothing if it refuses it.
std::optional<std::uint64_t> qemu_size(const std::string& text) {
  const TempDir folder;
  const CommandResult result = run_command(
      Command{.argv = {"qemu-img", "create", "-f", "raw", folder / "image", "--", text}});
  const std::string mark = "fmt=raw size=";
  const std::size_t at = result.out.find(mark);
  if (at == std::string::npos) return std::nullopt;
  return std::stoull(result.out.substr(at + mark.size()));
}

TEST(ParseSize, AgreesWithQemuImg) {
  if (!have_program("qemu-img")) GTEST_SKIP() << "needs qemu-img (Debian: qemu-utils)";
  std::vector<std::string> texts = {"0",
                                    "00",
                                    "010",
                                    "1",
                                    "1.",
                                    "1.0",
                                    "1.5",
                                    "1.b",
                                    "1.0b",
                                    "0.5b",
                                    "1.k",
                                    "1.1k",
                                    "1.3M",
                                    "1.7G",
                                    "0.1T",
                                    "0.3P",
                                    "3.7E",
                                    "2.5e",
                                    "1e",
                                    "1e3",
                                    "1E3",
                                    "7E",
                                    "8E",
                                    "7.9999E",
                                    " 5",
                                    "\t5",
                                    "5 ",
                                    "+5",
                                    "-5",
                                    "- 5",
                                    "+0x10",
                                    "0x",
                                    "0x1",
                                    "0XfF",
                                    "0xb",
                                    "0x1b",
                                    "0x1e",
                                    "0x1.8",
                                    "",
                                    "k",
                                    ".5k",
                                    "1kk",
                                    "1KiB",
                                    "1kb",
                                    "1,5k",
                                    "1_0",
                                    "inf",
                                    "nan",
                                    "1.k5",
                                    "1..5k",
                                    "1.5E1",
                                    "0b",
                                    "1B",
                                    "12345678",
                                    "0.0001k",
                                    "0.00048828125k",
                                    "0.00048828124k",
                                    "1.99999999k",
                                    "0.99999999k",
                                    "9223372036854775807",
                                    "9223372036854775808",
                                    "18446744073709551615",
                                    "18446744073709551616",
                                    "0x7fffffffffffffff",
                                    "0x8000000000000000"};
  for (const char* unit : {"k", "M", "G", "T", "P"}) {
    for (const char* number : {"0.123456789", "1.33333333333333333333", "3.14159265358979", "0.7",
                               "2.0000001", "5.55555", "7.000000000001"}) {
      texts.push_back(std::string(number) + unit);
    }
  }
  for (const std::string& text : texts) {
    std::optional<std::uint64_t> ours = parsed(text);
    if (ours && *ours > kMaxFileSize) ours = std::nullopt;
    EXPECT_EQ(ours, qemu_size(text)) << "'" << text << "'";
  }
}

TEST(ParseSizeArgument, SpeaksAsQemuImgDoes) {
  EXPECT_EQ(parse_size_argument("1M", "image size", "platter").value(), kMiB);
  EXPECT_EQ(parse_size_argument("8E", "image size", "platter").error().message(),
            "Invalid image size specified. Must be between 0 and 9223372036854775807.");
  EXPECT_EQ(parse_size_argument("99E", "image size", "platter").error().message(),
            "Invalid image size specified. Must be between 0 and 9223372036854775807.");
  const Result<std::uint64_t> wrong = parse_size_argument("x", "rate limit", "platter");
  EXPECT_TRUE(wrong.error().message().starts_with(
      "Invalid rate limit specified. You may use k, M, G, T, P or E suffixes for"));
}

TEST(ParseSizeOption, NamesTheParameter) {
  EXPECT_EQ(parse_size_option("1M", "size").value(), kMiB);
  EXPECT_TRUE(parse_size_option("x", "size")
                  .error()
                  .message()
                  .starts_with("Parameter 'size' expects a non-negative number below 2^64"));
}

TEST(ParseNumberArgument, TakesWhatStrtoulTakes) {
  const std::pair<const char*, std::uint64_t> good[] = {{"0", 0},   {"10", 10},  {"0x10", 16},
                                                        {"010", 8}, {"+5", 5},   {" 5", 5},
                                                        {"-0", 0},  {"255", 255}};
  for (const auto& [text, value] : good) {
    const auto parsed = parse_number_argument(text, "pattern byte", 255);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(*parsed, value) << text;
  }
}

TEST(ParseNumberArgument, RefusesTheRestInQemuImgsWords) {
  for (const char* text :
       {"", " ", "x", "5 ", "5k", "1.5", "-1", "256", "0x", "18446744073709551617"}) {
    const auto parsed = parse_number_argument(text, "pattern byte", 255);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().message(), "Invalid pattern byte specified") << text;
  }
}

TEST(ParseSizeArgument, NamesTheLargestThatIsAllowed) {
  EXPECT_EQ(parse_size_argument("1000", "buffer size", "tool", 1000).value(), 1000U);
  const auto parsed = parse_size_argument("1001", "buffer size", "tool", 1000);
  ASSERT_FALSE(parsed);
  EXPECT_EQ(parsed.error().message(), "Invalid buffer size specified. Must be between 0 and 1000.");
}

TEST(HumanSize, HasThreeDigitsAndAUnit) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(512), "512 B");
  EXPECT_EQ(human_size(999), "999 B");
  EXPECT_EQ(human_size(1024), "1 KiB");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(10 * kGiB), "10 GiB");
  EXPECT_EQ(human_size(999 * kMiB), "999 MiB");
  EXPECT_EQ(human_size(1000 * kMiB), "0.977 GiB");
  EXPECT_EQ(human_size(~std::uint64_t{0}), "16 EiB");
}

TEST(HumanSize, AgreesWithQemuImg) {
  if (!have_program("qemu-img")) GTEST_SKIP() << "needs qemu-img (Debian: qemu-utils)";
  const TempDir folder;
  std::vector<std::uint64_t> sizes;
  for (const std::uint64_t unit : {kKiB, kMiB, kGiB}) {
    for (const std::uint64_t half_units : {1, 2, 3, 19, 199, 1997, 1998, 1999, 2000, 2001, 2047}) {
      sizes.push_back(half_units * unit / 2);
    }
  }
  for (const std::uint64_t size : {0UL, 1UL, 1023UL << 30, 15UL << 40, 999'999'488UL,
                                   12'345'678'848UL, 1'000'448UL, 1'048'064UL}) {
    sizes.push_back(size);
  }
  for (const std::uint64_t size : sizes) {
    const std::string path = folder / "image";
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    const CommandResult info = run_command("qemu-img", "info", "-f", "raw", path);
    ASSERT_TRUE(info.ok()) << info.err;
    const std::string line = "virtual size: " + human_size(align_up(size, 512)) + " (";
    EXPECT_NE(info.out.find(line), std::string::npos) << line << "\n" << info.out;
  }
}

}  // namespace
}  // namespace platter::cli
