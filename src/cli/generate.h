// `platter --generate KIND [VERB]`: what is installed beside the program, made from its own tables.
#pragma once

#include <string>
#include <string_view>

#include "io/error.h"

namespace platter::cli {

/// KIND: man (of the tool, or of VERB), bash, zsh, fish; verbs: their names, one on each line.
/// Errors: invalid_argument.
Result<std::string> generate(std::string_view kind, std::string_view verb);

}  // namespace platter::cli
