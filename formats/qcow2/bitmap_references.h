// What the persistent bitmaps of an image refer to.
#pragma once

#include "formats/qcow2/check_run.h"
#include "formats/qcow2/reference_counter.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Counts the references of the bitmap directory, the bitmaps' tables and their entries (sections
/// "Bitmaps extension" and "Bitmap table"). The work is bounded by the file's size.
/// Errors: io, corrupt_image (bitmaps can't be read), cancelled.
Task<void> count_bitmap_references(CheckRun& run, ReferenceCounter& counter);

}  // namespace platter::qcow2
