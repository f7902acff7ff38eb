// Laying out raw images.
#pragma once

#include <cstdint>

#include "formats/image.h"
#include "io/file.h"
#include "io/task.h"

namespace platter {

/// Gives an empty file (or a block device) the size and preallocation of a new raw image.
/// Like qemu-img, writes the first block of an image without preallocation, so that openers on any
/// kernel can find out the alignment of direct I/O by trial.
/// Errors: unsupported (preallocation=metadata; a device of another size), no_space, too_large.
Task<void> create_raw(File& file, std::uint64_t size, ResizeOptions options);

/// Takes a raw image from `before` to `size` bytes. If preallocation fails, the size is `before`
/// again.
Task<void> resize_raw(File& file, std::uint64_t before, std::uint64_t size, ResizeOptions options);

}  // namespace platter
