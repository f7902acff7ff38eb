#include "src/cli/option_values.h"

#include <algorithm>
#include <ranges>

namespace platter::cli {
namespace {

constexpr std::string_view kFormats[] = {"raw", "qcow2", "luks"};
constexpr std::string_view kCacheModes[] = {"none", "writeback", "writethrough", "directsync",
                                            "unsafe"};
constexpr std::string_view kOutputs[] = {"human", "json"};

OptionValues choice_of(std::span<const std::string_view> words) {
  return {.kind = ValueKind::choice, .choices = {words.begin(), words.end()}};
}

}  // namespace

std::span<const std::string_view> format_names() { return kFormats; }

OptionValues option_values(std::string_view argument) {
  constexpr std::string_view kFiles[] = {"FILE", "FILENAME", "TARGET"};
  if (std::ranges::find(kFiles, argument) != std::end(kFiles)) return {.kind = ValueKind::file};
  if (argument == "DIR") return {.kind = ValueKind::folder};
  if (argument == "OPTIONS") return {.kind = ValueKind::create_options};
  if (argument == "FMT") return choice_of(kFormats);
  if (argument == "CACHE") return choice_of(kCacheModes);
  if (argument == "FORMAT") return choice_of(kOutputs);
  if (!argument.contains('|')) return {};
  OptionValues values{.kind = ValueKind::choice};
  for (const auto word : std::views::split(argument, '|')) {
    values.choices.emplace_back(word.begin(), word.end());
  }
  return values;
}

}  // namespace platter::cli
