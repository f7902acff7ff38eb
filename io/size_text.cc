#include "io/size_text.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter {
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

}  // namespace platter
