// A verb's command line: one table that parsing and --help are made from.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"

namespace platter::cli {

// In the order in which the tables are read: some bytes of padding are no loss.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding)
struct Option {
  char letter;                ///< 0: long only
  std::string_view name;      ///< long name; empty: letter only
  std::string_view argument;  ///< what --help calls its value (option_values.h); empty: takes none
  std::string_view help;      ///< one line
  /// qemu-img has no such option: never abbreviated, so that its abbreviations stay what they are.
  bool only_here = false;
};

/// A verb's own options, and those that it shares with others.
template <std::size_t... counts>
constexpr auto join_options(const Option (&... tables)[counts]) {
  std::array<Option, (counts + ...)> all{};
  auto end = all.begin();
  ((end = std::ranges::copy(tables, end).out), ...);
  return all;
}

/// What was given, in order. Options are known by their long name, or by their letter.
class Arguments {
 public:
  struct Given {
    std::string option;
    std::string value;
  };
  bool has(std::string_view option) const noexcept;
  /// The last value given, or `otherwise`.
  std::string value(std::string_view option, std::string_view otherwise = {}) const;
  std::vector<std::string> values(std::string_view option) const;
  const std::vector<Given>& in_order() const noexcept { return given_; }
  const std::vector<std::string>& positional() const noexcept { return positional_; }

  /// Adds an operand behind the others.
  void append(std::string word) { positional_.push_back(std::move(word)); }

  /// Parses what follows the verb, as getopt_long does it for qemu-img: options and operands in
  /// any order, clusters of letters, abbreviated long names, "--" to end options.
  /// Errors: invalid_argument, in qemu-img's words; `unknown` then gets the option that there is
  /// none of, as it was given.
  static Result<Arguments> parse(std::span<const Option> options,
                                 const std::vector<std::string>& words,
                                 std::string* unknown = nullptr);

 private:
  std::vector<Given> given_;
  std::vector<std::string> positional_;
};

/// `-o a=b,c=d` (several add up; ",," is a comma): name and value, in order. A name alone has the
/// value "on".
struct CreateOption {
  std::string name;
  std::string value;
};
/// Errors: invalid_argument.
Result<std::vector<CreateOption>> parse_create_options(const std::vector<std::string>& lists);
/// True if one of the lists asks for help.
bool asks_for_help(const std::vector<std::string>& lists);

}  // namespace platter::cli
