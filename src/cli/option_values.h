// What the value of an option is, told by what --help calls it: shell completion offers values by it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace platter::cli {

enum class ValueKind : std::uint8_t {
  text,            ///< anything
  file,            ///< FILE, FILENAME, TARGET
  folder,          ///< DIR
  choice,          ///< FMT, CACHE, FORMAT, or the words themselves: "leaks|all"
  create_options,  ///< OPTIONS: what `-o` takes
};

struct OptionValues {
  ValueKind kind = ValueKind::text;
  std::vector<std::string_view> choices = {};  ///< for `choice`; they point into constants
};
OptionValues option_values(std::string_view argument);

/// The formats of images, as in messages and as -f takes them.
std::span<const std::string_view> format_names();

}  // namespace platter::cli
