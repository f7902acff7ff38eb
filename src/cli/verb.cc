#include "src/cli/verb.h"

#include <array>

#include <fmt/format.h>

namespace platter::cli {

std::span<const Verb* const> verbs() {
  static constexpr std::array<const Verb*, 13> kVerbs = {
      &kAmend, &kBench, &kBitmap,  &kCheck,  &kCompare,  &kConvert, &kCreate,
      &kInfo,  &kMap,   &kMeasure, &kResize, &kSnapshot, &kVolume};
  return kVerbs;
}

std::string verb_help(const Verb& verb, std::string_view program) {
  std::string text = fmt::format("Usage: {} {} [OPTIONS] {}\n{}.\n\nOptions:\n", program, verb.name,
                                 verb.operands, verb.help);
  for (const Option& option : verb.options) {
    std::string left = option.letter != 0 ? fmt::format("-{}", option.letter) : "   ";
    if (!option.name.empty())
      left += fmt::format("{} --{}", option.letter != 0 ? "," : " ", option.name);
    if (!option.argument.empty()) {
      left += option.name.empty() ? fmt::format(" {}", option.argument)
                                  : fmt::format("={}", option.argument);
    }
    text += fmt::format("  {:<32} {}\n", left, option.help);
  }
  return text;
}

}  // namespace platter::cli
