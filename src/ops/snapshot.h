// Internal snapshots of an open image.
#pragma once

#include <string>

#include "formats/image.h"
#include "formats/snapshot_key.h"
#include "io/cancel.h"
#include "io/task.h"

namespace platter {

/// Each is durable when it returns; on an error, a cancellation or a crash the image is as before or
/// as after it. The image is open for writing; its other requests wait meanwhile, and of a write that
/// is in flight a part may come before. Listing them: Image::info().
///
/// Errors of all: unsupported (the format, or this image, has none), read_only, corrupt_image,
/// cancelled, io.

/// Takes one, dated now. Errors: too_large (one more reference or snapshot can't be counted),
/// no_space.
Task<void> create_snapshot(Image& image, std::string name, const CancelToken* cancel = nullptr);
/// Errors: not_found.
Task<void> delete_snapshot(Image& image, SnapshotKey key, const CancelToken* cancel = nullptr);
/// Makes contents and size those of the snapshot. Errors: not_found, too_large, no_space.
Task<void> apply_snapshot(Image& image, SnapshotKey key, const CancelToken* cancel = nullptr);

/// Makes an image that was opened for reading show a snapshot in place of what it holds now.
/// Errors: not_found, unsupported, corrupt_image, io.
Task<void> show_snapshot(Image& image, SnapshotKey key);

}  // namespace platter
