// What --help and --version print.
#pragma once

#include <string>
#include <string_view>

#include "src/cli/context.h"
#include "src/cli/verb.h"

namespace platter::cli {

/// "-U, --force-share", "-f FMT", "--output=FORMAT": as help and manual show an option.
std::string option_words(const Option& option);

/// One line, for scripts: "platter version X", and in qemu-img's place "qemu-img version Y (platter
/// X)", Y being the version whose options and texts these are: what programs look for.
std::string version_line(const Context& context);
/// That line, then what this build and this machine can do.
std::string version_text(const Context& context);
std::string tool_help(const Context& context);
std::string verb_help(const Verb& verb, std::string_view program);

}  // namespace platter::cli
