// The header in its file: read, and changed in place: one sector, so that a crash leaves the old ones or the new.
#pragma once

#include <functional>

#include "formats/qcow2/format.h"
#include "formats/qcow2/header.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Reads and parses the header and its extensions. Errors: as parse_header(), io.
Task<Header> read_header(File& file, HeaderUse use = HeaderUse::open);

/// Flushes, reads the first 512 bytes, has `change` change fields in them, writes them by one
/// request and flushes again. Everything written before is durable before the header says so.
/// Fields past 72 exist from version 3 on only: `change` looks. Errors: io, no_space.
Task<void> change_header(File& file, std::function<void(DiskHeader&)> change);

}  // namespace platter::qcow2
