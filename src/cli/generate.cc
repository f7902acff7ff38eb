#include "src/cli/generate.h"

#include <fmt/format.h>

#include "src/cli/completion.h"
#include "src/cli/manual.h"

namespace platter::cli {

Result<std::string> generate(std::string_view kind, std::string_view verb) {
  if (kind == "man") {
    if (verb.empty()) return tool_manual();
    if (const Verb* found = find_verb(verb)) return verb_manual(*found);
    return fail(ErrorKind::invalid_argument, fmt::format("Command not found: {}", verb));
  }
  if (!verb.empty()) {
    return fail(ErrorKind::invalid_argument, fmt::format("Unexpected argument: {}", verb));
  }
  if (kind == "bash") return bash_completion();
  if (kind == "zsh") return zsh_completion();
  if (kind == "fish") return fish_completion();
  if (kind == "verbs") {
    std::string names;
    for (const Verb* known : verbs()) names += fmt::format("{}\n", known->name);
    return names;
  }
  return fail(ErrorKind::invalid_argument,
              fmt::format("Can't generate '{}': man, bash, zsh, fish or verbs", kind));
}

}  // namespace platter::cli
