#include <fmt/format.h>
#include <fmt/ranges.h>

#include "src/cli/completion.h"
#include "src/cli/option_values.h"

namespace platter::cli {
namespace {

// Installed, the file is the function's body; sourced, it names itself.
constexpr std::string_view kEnd = R"zsh(
if [[ $funcstack[1] == _platter ]]; then
  _platter "$@"
else
  compdef _platter platter
fi
)zsh";

// Within [...] of what _arguments takes.
std::string explained(std::string_view text) {
  std::string escaped;
  for (const char letter : text) {
    if (letter == '[' || letter == ']' || letter == ':' || letter == '\\') escaped += '\\';
    escaped += letter;
  }
  return "[" + escaped + "]";
}

std::string action_of(const Verb& verb, const Option& option) {
  const OptionValues values = option_values(option.argument);
  switch (values.kind) {
    case ValueKind::text: return " ";
    case ValueKind::file: return "_files";
    case ValueKind::folder: return "_files -/";
    case ValueKind::choice: return fmt::format("({})", fmt::join(values.choices, " "));
    case ValueKind::create_options: return fmt::format("_platter_options_{}", verb.name);
  }
  return {};
}

std::string spec_of(const Verb& verb, const Option& option) {
  const bool takes = !option.argument.empty();
  const std::string what =
      explained(option.help) +
      (takes ? fmt::format(":{}:{}", option.argument, action_of(verb, option)) : "");
  const std::string letter = fmt::format("-{}{}", option.letter, takes ? "+" : "");
  const std::string name = fmt::format("--{}{}", option.name, takes ? "=" : "");
  if (option.name.empty()) return shell_quoted("*" + letter + what);
  if (option.letter == 0) return shell_quoted("*" + name + what);
  return fmt::format("'*'{{{},{}}}{}", letter, name, shell_quoted(what));
}

// -o takes names with values, several of them with commas between.
std::string list_function(const Verb& verb) {
  std::string function = fmt::format("_platter_options_{}() {{\n  _values -s , option", verb.name);
  for (std::string word : create_option_words(verb)) {
    word.pop_back();
    function += fmt::format(" \\\n    '{}:value: '", word);
  }
  return function + "\n}\n";
}

}  // namespace

std::string zsh_completion() {
  std::string lists;
  std::string names;
  std::string cases;
  for (const Verb* verb : verbs()) {
    names += fmt::format("    {}\n", shell_quoted(fmt::format("{}:{}", verb->name, verb->help)));
    cases += fmt::format("        {})\n          _arguments -s", verb->name);
    bool has_list = false;
    for (const Option& option : verb->options) {
      cases += fmt::format(" \\\n            {}", spec_of(*verb, option));
      has_list |= option_values(option.argument).kind == ValueKind::create_options;
    }
    cases += " \\\n            '*:FILE:_files'\n          ;;\n";
    if (has_list) lists += list_function(*verb);
  }
  return fmt::format(
      "#compdef platter\n# Completion for zsh; made by: platter --generate zsh\n{}"
      "_platter() {{\n"
      "  local curcontext=$curcontext state line\n  typeset -A opt_args\n"
      "  local -a verbs=(\n{}  )\n"
      "  _arguments -C '(- *)'{{-h,--help}}'[list the verbs]' \\\n"
      "    '(- *)'{{-V,--version}}'[version and features]' '1:verb:->verb' '*::operand:->operand'\n"
      "  case $state in\n    verb) _describe verb verbs ;;\n    operand)\n"
      "      case $words[1] in\n{}      esac\n      ;;\n  esac\n}}\n{}",
      lists, names, cases, kEnd);
}

}  // namespace platter::cli
