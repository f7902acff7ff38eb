// The COPIED flags: set where a count is exactly one, and nowhere else.
#pragma once

#include "formats/qcow2/check_run.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Looks at the active L1 table's entries and their L2 tables; run.counts holds what is on disk.
/// With `fix`, flags are corrected in place; nothing is durable before the next flush.
/// Errors: io, corrupt_image (a table that must change overlaps other metadata), cancelled.
Task<void> check_copied_flags(CheckRun& run, bool fix);

}  // namespace platter::qcow2
