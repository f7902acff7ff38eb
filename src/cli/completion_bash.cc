#include <fmt/format.h>
#include <fmt/ranges.h>

#include "src/cli/completion.h"
#include "src/cli/option_values.h"

namespace platter::cli {
namespace {

// Bash splits words at "=" and hands over the piece that the cursor is in: its beginning is looked
// for first. Names of files are left to readline, which knows about quoting.
constexpr std::string_view kFunction = R"bash(
_platter() {
  local current=${COMP_WORDS[COMP_CWORD]} at=$COMP_CWORD option verb=${COMP_WORDS[1]}
  local kind=file words='' list=''
  COMPREPLY=()
  [[ $current != '=' ]] || { current='' at=$((at + 1)); }
  while ((at > 3)) && [[ ${COMP_WORDS[at - 1]} == '=' && ${COMP_WORDS[at - 2]} != --* ]]; do
    at=$((at - 2)) list=in
  done
  option=${COMP_WORDS[at - 1]}
  [[ $option != '=' ]] || option=${COMP_WORDS[at - 2]}
  if ((COMP_CWORD == 1)); then
    kind=words words=$(_platter_verbs)
  elif [[ $option == -?* ]] && _platter_value "$verb" "$option"; then
    :
  elif [[ $current == -* ]]; then
    kind=words words=$(_platter_options "$verb")
  fi
  [[ $kind != file ]] || return 0
  compopt +o default 2>/dev/null
  case $kind in
    words) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current") ;;
    folder)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      ;;
    list)
      compopt -o nospace 2>/dev/null
      [[ $current != *,* ]] || list=,
      [[ $list != in ]] || return 0 # the value of a name
      list=''
      [[ $current != *,* ]] || list=${current%,*},
      mapfile -t COMPREPLY < <(compgen -P "$list" -W "$words" -- "${current##*,}")
      ;;
  esac
  [[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != --*= ]] || compopt -o nospace 2>/dev/null
}
complete -o default -F _platter platter
)bash";

std::string words_of(const Verb& verb) {
  std::vector<std::string> words;
  for (const Option& option : verb.options) {
    if (option.letter != 0) words.push_back(fmt::format("-{}", option.letter));
    if (option.name.empty()) continue;
    words.push_back(fmt::format("--{}{}", option.name, option.argument.empty() ? "" : "="));
  }
  return fmt::format("{}", fmt::join(words, " "));
}

std::string value_of(const Verb& verb, const Option& option) {
  const OptionValues values = option_values(option.argument);
  switch (values.kind) {
    case ValueKind::text: return "kind='nothing'";
    case ValueKind::file: return "kind='file'";
    case ValueKind::folder: return "kind='folder'";
    case ValueKind::choice:
      return fmt::format("kind='words' words='{}'", fmt::join(values.choices, " "));
    case ValueKind::create_options:
      return fmt::format("kind='list' words='{}'", fmt::join(create_option_words(verb), " "));
  }
  return {};
}

std::string patterns_of(const Verb& verb, const Option& option) {
  std::string patterns = option.letter != 0 ? fmt::format("{}:-{}", verb.name, option.letter) : "";
  if (option.name.empty()) return patterns;
  return patterns + fmt::format("{}{}:--{}", patterns.empty() ? "" : " | ", verb.name, option.name);
}

}  // namespace

std::string bash_completion() {
  std::string names;
  std::string options;
  std::string values;
  for (const Verb* verb : verbs()) {
    names += fmt::format("{} ", verb->name);
    options += fmt::format("    {}) echo '{}' ;;\n", verb->name, words_of(*verb));
    for (const Option& option : verb->options) {
      if (option.argument.empty()) continue;
      values += fmt::format("    {}) {} ;;\n", patterns_of(*verb, option), value_of(*verb, option));
    }
  }
  return fmt::format(
      "# shellcheck shell=bash disable=SC2034\n"
      "# Completion for bash; made by: platter --generate bash\n"
      "_platter_verbs() {{\n  echo '{}--help --version'\n}}\n"
      "_platter_options() {{\n  case $1 in\n{}  esac\n}}\n"
      "# Sets `kind` and `words`; fails for an option that takes no value.\n"
      "_platter_value() {{\n  case $1:$2 in\n{}    *) return 1 ;;\n  esac\n}}\n{}",
      names, options, values, kFunction.substr(1));
}

}  // namespace platter::cli
