// A header that is on disk becomes another one, step by step.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "formats/qcow2/bitmap_header.h"
#include "formats/qcow2/header.h"
#include "io/error.h"

namespace platter::qcow2 {

/// How the first cluster becomes what encode_header(wanted) says, the rest of it zeroes: steps of
/// which each is durable before the next begins. A header may be longer than a sector, and writing
/// several sectors is not atomic; so a step changes one sector, or bytes that nobody looks at then.
/// After each of them, torn or not, the header parses as the old one or as the new one.
///
/// Where both are longer than a sector, what follows on the first sector is written once more
/// behind everything; the first sector skips to it by an extension in between (of the type of the
/// feature names, which whoever writes the header next makes anew); then it is put where it belongs.
///
/// `cluster` is the first one, all of it. Errors: those of encode_header(); no_space (no room for
/// that); unsupported (unknown fields that fill the first sector).
Result<std::vector<HeaderStep>> plan_header_change(std::span<const std::byte> cluster,
                                                   const Header& wanted);

/// What the cluster is after the steps.
void apply_steps(std::span<const HeaderStep> steps, std::span<std::byte> cluster);

}  // namespace platter::qcow2
