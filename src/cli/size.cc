#include "src/cli/size.h"

#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>

#include <fmt/format.h>

namespace platter::cli {
namespace {

constexpr std::string_view kSuffixes = "bkmgtpe";

std::unexpected<Error> not_a_size(std::string_view text) {
  return fail(ErrorKind::invalid_argument, fmt::format("'{}' is not a size", text));
}
std::unexpected<Error> too_large(std::string_view text) {
  return fail(ErrorKind::too_large, fmt::format("'{}' is too large for a size", text));
}

std::optional<std::uint64_t> unit_of(std::string_view suffix) {
  if (suffix.empty()) return 1;
  if (suffix.size() > 1) return std::nullopt;
  const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(suffix.front())));
  const std::size_t power = kSuffixes.find(lower);
  if (power == std::string_view::npos) return std::nullopt;
  return std::uint64_t{1} << (10 * power);
}

std::string_view take_digits(std::string_view& text) {
  std::size_t count = 0;
  while (count < text.size() && std::isdigit(static_cast<unsigned char>(text[count])) != 0) ++count;
  const std::string_view digits = text.substr(0, count);
  text.remove_prefix(count);
  return digits;
}

Result<std::uint64_t> parse_hex(std::string_view text) {
  const std::string_view digits = text.substr(2);
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error == std::errc::result_out_of_range) return too_large(text);
  if (error != std::errc() || end != digits.data() + digits.size()) return not_a_size(text);
  return value;
}

// "0.digits" of `unit`, rounded to the nearest byte.
std::uint64_t fraction_of(std::string_view digits, std::uint64_t unit) {
  const std::string text = fmt::format("0.{}", digits);
  double fraction = 0;
  std::from_chars(text.data(), text.data() + text.size(), fraction);
  return static_cast<std::uint64_t>(std::llround(fraction * static_cast<double>(unit)));
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  std::string_view rest = text;
  while (!rest.empty() && std::isspace(static_cast<unsigned char>(rest.front())) != 0) {
    rest.remove_prefix(1);
  }
  if (rest.starts_with('+')) rest.remove_prefix(1);
  if (rest.starts_with("0x") || rest.starts_with("0X")) return parse_hex(rest);
  const std::string_view whole = take_digits(rest);
  if (whole.empty()) return not_a_size(text);
  std::string_view fraction;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    fraction = take_digits(rest);
  }
  const std::optional<std::uint64_t> unit = unit_of(rest);
  const bool fraction_of_bytes =
      unit == std::uint64_t{1} && fraction.find_first_not_of('0') != std::string_view::npos;
  if (!unit || fraction_of_bytes) return not_a_size(text);

  std::uint64_t value = 0;
  if (std::from_chars(whole.data(), whole.data() + whole.size(), value).ec != std::errc()) {
    return too_large(text);
  }
  const auto scaled = checked_mul(value, *unit);
  const auto sum = scaled ? checked_add(*scaled, fraction_of(fraction, *unit)) : std::nullopt;
  if (!sum) return too_large(text);
  return *sum;
}

Result<std::uint64_t> parse_size_argument(std::string_view text, std::string_view what,
                                          std::string_view program, std::uint64_t max) {
  Result<std::uint64_t> size = parse_size(text);
  if (size && *size <= max) return size;
  if (size || size.error().kind() == ErrorKind::too_large) {
    return fail(ErrorKind::too_large,
                fmt::format("Invalid {} specified. Must be between 0 and {}.", what, max));
  }
  return fail(ErrorKind::invalid_argument,
              fmt::format("Invalid {} specified. You may use k, M, G, T, P or E suffixes for\n"
                          "{}: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.",
                          what, program));
}

Result<std::uint64_t> parse_number_argument(const std::string& text, std::string_view what,
                                            std::uint64_t max) {
  errno = 0;
  char* end = nullptr;
  // As strtoul has it: spaces and a sign before the digits; a negative number is a huge one.
  const std::uint64_t value = std::strtoull(text.c_str(), &end, 0);
  const bool whole = end != text.c_str() && end == text.c_str() + text.size();
  if (whole && errno == 0 && value <= max) return value;
  return fail(ErrorKind::invalid_argument, fmt::format("Invalid {} specified", what));
}

Result<std::uint64_t> parse_size_option(std::string_view text, std::string_view name) {
  Result<std::uint64_t> size = parse_size(text);
  if (size) return size;
  if (size.error().kind() == ErrorKind::too_large) {
    return fail(ErrorKind::too_large,
                fmt::format("Value '{}' is out of range for parameter '{}'", text, name));
  }
  return fail(ErrorKind::invalid_argument,
              fmt::format("Parameter '{}' expects a non-negative number below 2^64\n"
                          "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, "
                          "peta-\nand exabytes, respectively.",
                          name));
}

std::string human_size(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  // From 1000 of a unit on the next one is used, so that three digits say enough.
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.3g} {}", value, kUnits[unit]);
}

}  // namespace platter::cli
