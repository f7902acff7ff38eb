// What a command line says of all images that it names: options that the verbs share.
#pragma once

#include <cstdint>
#include <optional>

#include "formats/open_policy.h"
#include "io/error.h"
#include "src/cli/arguments.h"
#include "src/cli/objects.h"

namespace platter::cli {

/// What may be opened because of an image; see OpenPolicy. A verb's table includes them.
inline constexpr Option kPolicyOptions[] = {
    {0, "no-backing", "", "open no backing file or data file that an image names", true},
    {0, "backing-under", "DIR", "open what an image names only below this folder; may be repeated",
     true},
    {0, "formats", "LIST", "open images of these formats only, such as raw,qcow2", true},
    {0, "max-memory", "SIZE", "of metadata that one image may hold in memory (default: 64M)", true},
};

/// Names are options: driver=qcow2,file.filename=...
inline constexpr Option kImageOptsOption[] = {
    {0, "image-opts", "", "images are named by options: driver=qcow2,file.filename=..."},
};

struct ImageAccess {
  /// --image-opts
  bool by_options = false;
  /// --object; the policy, and copies of it that do not outlive this, give images what they ask for.
  Objects objects;
  /// What the user names is theirs to open, and what it stands on follows.
  OpenPolicy policy{.formats = {}, .follow_references = true, .reference_folders = {}};
  /// What was given as --max-memory, for operations that have no limit by default.
  std::optional<std::uint64_t> memory_max;
};

/// Errors: invalid_argument.
Result<ImageAccess> parse_image_access(const Arguments& arguments);

}  // namespace platter::cli
