// New refcount structures, beside the old ones.
#pragma once

#include <cstdint>
#include <span>

#include "formats/qcow2/check_run.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Writes run.counts, and what the new structures take themselves, to a new refcount table and new
/// blocks in free clusters or past the end; then one write of the header's first sector switches
/// to them. A `snapshot_table` that is not empty is switched to by the same write. What was there
/// before is not touched: its clusters are leaks afterwards. Until the header is written, nothing
/// refers to anything that was written.
/// Errors: io, no_space, too_large (the refcount table).
Task<void> rebuild_refcounts(CheckRun& run, std::span<const std::byte> snapshot_table);

}  // namespace platter::qcow2
