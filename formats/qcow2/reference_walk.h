// Who refers to which host cluster: everything an image holds, added up.
#pragma once

#include "formats/qcow2/check_run.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Adds up in run.counts (zero before) all references from the header, the active L1 table, the
/// snapshots and their table, the refcount table and its blocks, the encryption header and the
/// bitmaps; tells faults on the way, and counts the guest's clusters in the report. With `fix`,
/// L2 entries of preallocated clusters at impossible places become plain zeroes.
/// Sets run.rebuild where refcount structures are broken. The work is bounded by the file's size.
/// Errors: io, corrupt_image (bitmaps can't be read), cancelled.
Task<void> count_references(CheckRun& run, bool fix);

}  // namespace platter::qcow2
