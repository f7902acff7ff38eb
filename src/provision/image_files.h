// Images below a held folder: what the parts of the backends ask of them.
#pragma once

#include <cstdint>
#include <string>

#include "formats/image_info.h"
#include "formats/open_policy.h"
#include "io/cancel.h"
#include "io/path_lookup.h"
#include "io/task.h"
#include "src/provision/image_backend.h"

namespace platter::provision {

/// Follows references below the lookup's folder, and nowhere else.
OpenPolicy policy_below(PathLookup lookup);

/// What the image says of itself; opens nothing else and takes no lock. Errors: as open_image().
Task<ImageInfo> look_at_image(std::string path, std::string format, PathLookup lookup);

/// The format of a disk that nobody recorded: raw, unless it is a qcow2 image.
/// Errors: unknown_format (it looks like something else), and those of opening.
Task<std::string> detect_format(std::string path, PathLookup lookup);

/// Makes the image larger; durable then. False: it was as large already, and was opened for nothing but
/// a look. Errors: in_use, no_space, and those of opening; the size is as before then.
Task<bool> grow_image(std::string path, std::string format, std::uint64_t size, PathLookup lookup,
                      const CancelToken* cancel);

/// Reserves space for all of a file of this many bytes without changing its size. Nothing happens where
/// the filesystem can't. Errors: no_space, io.
Task<void> reserve_space(std::string path, std::uint64_t size, PathLookup lookup);

/// Writes what the image shows, with all that it stands on, into an image of the request's own.
/// Errors: as convert().
Task<void> extract_image(std::string path, std::string format, OpenPolicy policy,
                         ExtractRequest request);

}  // namespace platter::provision
