// Manual pages in the roff language, from the same tables as --help.
#pragma once

#include <string>

#include "src/cli/verb.h"

namespace platter::cli {

/// platter.1
std::string tool_manual();
/// platter-VERB.1
std::string verb_manual(const Verb& verb);

/// Text as roff prints it literally, wherever it stands.
std::string roff_text(std::string_view text);

}  // namespace platter::cli
