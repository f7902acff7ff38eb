#include <fmt/format.h>
#include <fmt/ranges.h>

#include "src/cli/completion.h"
#include "src/cli/option_values.h"

namespace platter::cli {
namespace {

constexpr std::string_view kFunctions =
    R"fish(# Completion for fish; made by: platter --generate fish
function __platter_is
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = "$argv[1]"
end
function __platter_no_verb
    test (count (commandline -opc)) -eq 1
end
# The names, each after what the list holds already.
function __platter_list
    set -l token (commandline -ct | string replace -r '^--[^=]*=' '')
    set -l before (string replace -r '[^,]*$' '' -- "$token")
    printf '%s\n' "$before"$argv
end
complete -c platter -n __platter_no_verb -f
complete -c platter -n __platter_no_verb -s h -l help -d 'list the verbs'
complete -c platter -n __platter_no_verb -s V -l version -d 'version and features'
)fish";

std::string value_of(const Verb& verb, const Option& option) {
  if (option.argument.empty()) return "";
  const OptionValues values = option_values(option.argument);
  switch (values.kind) {
    case ValueKind::text: return " -x";
    case ValueKind::file: return " -r -F";
    case ValueKind::folder: return " -x -a '(__fish_complete_directories)'";
    case ValueKind::choice: return fmt::format(" -x -a '{}'", fmt::join(values.choices, " "));
    case ValueKind::create_options:
      return fmt::format(" -x -a '(__platter_list {})'", fmt::join(create_option_words(verb), " "));
  }
  return {};
}

}  // namespace

std::string fish_completion() {
  std::string script(kFunctions);
  for (const Verb* verb : verbs()) {
    script += fmt::format("complete -c platter -n __platter_no_verb -f -a {} -d {}\n", verb->name,
                          shell_quoted(verb->help, /*fish=*/true));
  }
  for (const Verb* verb : verbs()) {
    for (const Option& option : verb->options) {
      script += fmt::format("complete -c platter -n '__platter_is {}'", verb->name);
      if (option.letter != 0) script += fmt::format(" -s {}", option.letter);
      if (!option.name.empty()) script += fmt::format(" -l {}", option.name);
      script += value_of(*verb, option);
      script += fmt::format(" -d {}\n", shell_quoted(option.help, /*fish=*/true));
    }
  }
  return script;
}

}  // namespace platter::cli
