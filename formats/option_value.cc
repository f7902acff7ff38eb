#include "formats/option_value.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "io/size_text.h"

namespace platter {

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

Result<bool> parse_boolean_option(std::string_view value, std::string_view name) {
  constexpr std::array<std::string_view, 4> kOn = {"on", "yes", "true", "y"};
  constexpr std::array<std::string_view, 4> kOff = {"off", "no", "false", "n"};
  if (std::ranges::find(kOn, value) != kOn.end()) return true;
  if (std::ranges::find(kOff, value) != kOff.end()) return false;
  return fail(ErrorKind::invalid_argument,
              fmt::format("Parameter '{}' expects 'on' or 'off'", name));
}

// As strtoull() has it: blanks before it, a sign, octal and hexadecimal numbers.
Result<std::uint64_t> parse_number_option(const std::string& value, std::string_view name) {
  char* end = nullptr;
  errno = 0;
  const std::uint64_t number = std::strtoull(value.c_str(), &end, 0);
  if (value.empty() || *end != '\0') {
    return fail(ErrorKind::invalid_argument, fmt::format("Parameter '{}' expects a number", name));
  }
  if (errno == ERANGE) {
    return fail(ErrorKind::too_large,
                fmt::format("Value '{}' is too large for parameter '{}'", value, name));
  }
  return number;
}

std::string take_option_value(std::string_view& rest) {
  std::string value;
  while (!rest.empty()) {
    const char letter = rest.front();
    rest.remove_prefix(1);
    if (letter == ',') {
      if (!rest.starts_with(',')) break;
      rest.remove_prefix(1);
    }
    value += letter;
  }
  return value;
}

Result<void> check_identifier(std::string_view text, std::string_view name) {
  const auto part = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
  };
  const bool begins = !text.empty() && std::isalpha(static_cast<unsigned char>(text.front())) != 0;
  if (begins && std::ranges::all_of(text, part)) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("Parameter '{}' expects an identifier\nIdentifiers consist of letters, "
                          "digits, '-', '.', '_', starting with a letter.",
                          name));
}

}  // namespace platter
