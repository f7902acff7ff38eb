// What kind of error LVM means. Internal to crypto/.
#pragma once

#include <string>
#include <string_view>

#include "io/error.h"

namespace platter {

/// LVM's complaints as one line: without its indentation, hints and repetitions; never empty.
std::string lvm_error_text(std::string_view complaints);

/// From LVM's text, which is never translated, and its return code (lvm2cmd.h).
ErrorKind lvm_error_kind(std::string_view text, int code) noexcept;

}  // namespace platter
