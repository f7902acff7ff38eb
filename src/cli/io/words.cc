#include "src/cli/io/words.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace platter::cli {
namespace {

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

// Whether there is such an option, and if so, whether it has a value.
std::optional<bool> takes_value(std::string_view letters, char letter) {
  const std::size_t at = letter == ':' ? letters.npos : letters.find(letter);
  if (at == letters.npos) return std::nullopt;
  return at + 1 < letters.size() && letters[at + 1] == ':';
}

}  // namespace

std::vector<std::string> split_words(std::string_view line) {
  std::vector<std::string> words;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    if (end > 0) words.emplace_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

bool Words::has(char letter) const noexcept {
  return std::ranges::any_of(options, [letter](const Given& g) { return g.letter == letter; });
}

Result<Words> parse_words(std::string_view name, std::string_view letters,
                          const std::vector<std::string>& words) {
  Words parsed;
  bool ended = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (ended || word.size() < 2 || word[0] != '-') {
      parsed.operands.push_back(word);
      continue;
    }
    ended = word == "--";
    for (std::size_t at = 1; !ended && at < word.size(); ++at) {
      const char letter = word[at];
      const std::optional<bool> valued = takes_value(letters, letter);
      if (!valued) return wrong(fmt::format("{}: invalid option -- '{}'", name, letter));
      parsed.options.push_back({letter, {}});
      if (!*valued) continue;
      const bool attached = at + 1 < word.size();
      if (!attached && i + 1 == words.size()) {
        return wrong(fmt::format("{}: option requires an argument -- '{}'", name, letter));
      }
      parsed.options.back().value = attached ? word.substr(at + 1) : words[++i];
      break;
    }
  }
  return parsed;
}

}  // namespace platter::cli
