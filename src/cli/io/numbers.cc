#include "src/cli/io/numbers.h"

#include <array>
#include <limits>

#include <fmt/format.h>

#include "src/cli/size.h"

namespace platter::cli {

Result<std::uint64_t> parse_io_number(std::string_view text) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
  Result<std::uint64_t> number = parse_size(text);
  if (number && *number <= kMax) return number;
  const bool large = number || number.error().kind() == ErrorKind::too_large;
  if (large) {
    return fail(ErrorKind::too_large, fmt::format("Parsing error: argument too large -- {}", text));
  }
  return fail(ErrorKind::invalid_argument,
              fmt::format("Parsing error: non-numeric argument, or extraneous/unrecognized "
                          "suffix -- {}",
                          text));
}

Result<std::byte> parse_pattern(const std::string& text) {
  const Result<std::uint64_t> value = parse_number_argument(text, "pattern", 0xff);
  if (value) return static_cast<std::byte>(*value);
  return fail(ErrorKind::invalid_argument, fmt::format("{} is not a valid pattern byte", text));
}

std::string size_text(double bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"bytes", "KiB", "MiB", "GiB",
                                                      "TiB",   "PiB", "EiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < kUnits.size(); ++unit) bytes /= 1024;
  std::string digits = unit == 0 ? fmt::format("{:.6f}", bytes) : fmt::format("{:.3f}", bytes);
  // A whole number, as near as these digits tell.
  if (const std::size_t whole = digits.find(".000"); whole != digits.npos) digits.resize(whole);
  return fmt::format("{} {}", digits, kUnits[unit]);
}

}  // namespace platter::cli
