// Scripts by which shells complete platter's command line, from the same tables as --help.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/cli/verb.h"

namespace platter::cli {

std::string bash_completion();
std::string zsh_completion();
std::string fish_completion();

/// "cluster_size=", ...: what `-o` of this verb takes.
std::vector<std::string> create_option_words(const Verb& verb);
/// Between single quotes, for any of the shells. `fish` escapes a quote in another way.
std::string shell_quoted(std::string_view text, bool fish = false);

}  // namespace platter::cli
