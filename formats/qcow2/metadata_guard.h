// Keeps a repair from writing one kind of metadata over another.
#pragma once

#include <cstdint>
#include <string_view>

#include "formats/qcow2/check_run.h"
#include "io/error.h"

namespace platter::qcow2 {

/// Whether a table may be changed in place: it must not share a cluster with the header, an L1
/// table, the refcount table or its blocks, the snapshot table or the bitmap directory.
/// Errors: corrupt_image, with `what` and what it overlaps.
Result<void> check_free_of_metadata(const CheckRun& run, std::uint64_t offset, std::uint64_t size,
                                    std::string_view what);

}  // namespace platter::qcow2
