// Options of an open image changed that it was made with.
#pragma once

#include "formats/image.h"
#include "formats/qcow2/amend.h"
#include "io/task.h"
#include "src/ops/progress.h"

namespace platter {

/// Each change is durable when it returns. What can't be done is refused before anything is changed;
/// after another error or a crash the image is whole, and some of the changes may be there.
/// `progress`, or null, is told of metadata in bytes. REQUIRES: open for writing, no request in flight.
///
/// Errors: unsupported (the format has nothing to amend), read_only, invalid_argument, too_large,
/// no_space, corrupt_image, cancelled, io.
Task<void> amend_image(Image& image, qcow2::AmendOptions options, Progress* progress = nullptr);

/// Whether images of this format have options that can be amended. Errors: unsupported, in
/// qemu-img's words.
Result<void> check_amendable(std::string_view format);

}  // namespace platter
