// A qcow2 image's header, written.
#pragma once

#include <cstddef>
#include <vector>

#include "formats/qcow2/header.h"
#include "io/error.h"

namespace platter::qcow2 {

/// The bytes from the start of the file to the end of the backing file's name: fields, extensions
/// in QEMU's order (with its feature-name table, and what is unknown last), end mark, name. The
/// rest of the first cluster is zeroes. parse_header() of the result yields `header` again; for an
/// image that QEMU 7.2 wrote the result equals its bytes.
///
/// Errors: no_space (more than the first cluster), too_large (the name), invalid_argument (version 2
/// with what only version 3 can say).
Result<std::vector<std::byte>> encode_header(const Header& header);

/// Puts what changes while an image is in use (size, places of tables, counts, feature bits) into
/// the header as it is on disk, and leaves all else as it is. REQUIRES: the same version.
void update_header(const Header& header, DiskHeader& disk);

}  // namespace platter::qcow2
