#include "src/cli/completion.h"

#include "src/cli/create_options.h"

namespace platter::cli {

std::vector<std::string> create_option_words(const Verb& verb) {
  const CreateOptionValues known = verb.name == "amend" ? CreateOptionValues::of_amendment("qcow2")
                                                        : CreateOptionValues::of_format("qcow2");
  std::vector<std::string> words;
  words.reserve(known.types().size());
  for (const CreateOptionType& type : known.types()) words.push_back(std::string(type.name) + "=");
  return words;
}

std::string shell_quoted(std::string_view text, bool fish) {
  std::string quoted = "'";
  for (const char letter : text) {
    if (letter == '\'') {
      quoted += fish ? "\\'" : "'\\''";
    } else if (letter == '\\' && fish) {
      quoted += "\\\\";
    } else {
      quoted += letter;
    }
  }
  return quoted + "'";
}

}  // namespace platter::cli
