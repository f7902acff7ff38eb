#include "src/cli/size.h"

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

namespace platter::cli {

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
