// Whether an image's clusters were allocated before their data came.
#pragma once

#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_cache.h"
#include "io/direct_file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// True where clearly more clusters are counted as used than the filesystem holds blocks for: then
/// it is worth asking the file for holes below what the image calls data. The same rule as QEMU's
/// (a ninth more, and two), so that `map` tells the same. Reads refcounts until it knows.
/// Errors: io, corrupt_image.
Task<bool> is_metadata_preallocated(const Header& header, DirectFile& file, MetadataCache& cache);

}  // namespace platter::qcow2
