// Names of images, as users and images give them.
#pragma once

#include <string>
#include <string_view>

#include "io/error.h"

namespace platter {

/// The path that a name inside an image means: relative names are relative to the image's folder.
/// A name with a protocol ("nbd:...") stays as it is; opening it is refused elsewhere.
std::string referenced_path(std::string_view image_path, const std::string& name);

/// The path that a name means: without "file:" in front. A name in the style of "protocol:rest"
/// means something else to the tools that platter replaces: only what is plainly a path is opened
/// as one. Errors: unsupported.
Result<std::string> plain_path(std::string name);

/// Whether a name inside an image (or one that a user gives in such a one's place) leads to the file
/// at `path`, through links and whatever folders. False where one of them leads nowhere.
bool means_file(std::string_view image_path, const std::string& name, const std::string& path);

}  // namespace platter
