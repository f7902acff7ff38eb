#include "src/cli/io/command.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

namespace platter::cli {
namespace {

std::vector<const Command*> by_name() {
  std::vector<const Command*> all;
  for (const std::span<const Command> group :
       {read_commands(), write_commands(), image_commands(), open_commands(), session_commands()}) {
    for (const Command& command : group) all.push_back(&command);
  }
  std::ranges::sort(all, {}, &Command::name);
  return all;
}

}  // namespace

const Command* find_command(std::string_view name) {
  if (name.empty()) return nullptr;
  const std::vector<const Command*> all = by_name();
  const auto found = std::ranges::find_if(
      all, [name](const Command* c) { return c->name == name || c->alias == name; });
  return found == all.end() ? nullptr : *found;
}

std::string usage_line(const Command& command) {
  return fmt::format("{} {}{}-- {}\n", command.name, command.synopsis,
                     command.synopsis.empty() ? "" : " ", command.summary);
}

std::string all_usage_lines() {
  std::string text;
  for (const Command* command : by_name()) text += usage_line(*command);
  return text;
}

std::string wrong_count(const Command& command, std::string_view name, std::size_t count) {
  if (count >= command.words_min && count <= command.words_max) return {};
  std::string expected;
  if (command.words_max == kAnyNumber) {
    expected = fmt::format("at least {}", command.words_min);
  } else if (command.words_min == command.words_max) {
    expected = fmt::format("{}", command.words_min);
  } else {
    expected = fmt::format("between {} and {}", command.words_min, command.words_max);
  }
  return fmt::format("bad argument count {} to {}, expected {} arguments", count, name, expected);
}

}  // namespace platter::cli
