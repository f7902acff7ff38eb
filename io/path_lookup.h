// Another way to find out what a path means than asking the kernel for the whole of it at once.
#pragma once

#include <functional>
#include <string>

#include "io/error.h"
#include "io/unique_fd.h"

namespace platter {

/// Gives an O_PATH descriptor of what the path leads to, file or folder. For programs whose files lie
/// below a folder that others may write to: the lookup starts at a descriptor of that folder, and
/// neither a link nor a race leads out of it. Called on the ring's thread; it must not wait for long.
/// Errors: not_found (and nothing else) means that a file may be made there.
///
/// An empty one: paths mean what they mean to the kernel.
using PathLookup = std::function<Result<UniqueFd>(const std::string& path)>;

}  // namespace platter
