// Images through pipes: bytes in order, whatever the other side is.
#pragma once

#include <cstdint>

#include "formats/image.h"
#include "formats/qcow2/create_options.h"
#include "io/pipe.h"
#include "io/task.h"
#include "src/ops/copy_engine.h"

namespace platter {

/// Fills `target` from its start with what comes, up to the end, whose place nobody knows before: a
/// target that `may_grow` gets the size that was read, rounded up to whole sectors. Reading and writing
/// go on at the same time; memory is 16 MiB. Of the options sparse_size, compress_unit, target_is_zero,
/// cancel and progress count. Does not flush.
/// Errors: those of both sides; no_space (a target that can't grow is too small); unknown_format (not
/// `any_format`, and the bytes look like an image of a format other than raw).
Task<CopyStats> copy_from_pipe(PipeReader& source, Image& target, bool may_grow, bool any_format,
                               CopyOptions options);

/// Writes all that `source` shows, its backing chain included, as a raw image. Of the options cancel
/// and progress count. Errors: those of both sides; cancelled.
Task<CopyStats> copy_to_pipe(Image& source, PipeWriter& target, const CopyOptions& options);

/// The same as a qcow2 image. What the source's map calls zero is left out; it is asked twice, and
/// must not change meanwhile. Errors: and those of StreamLayout::plan().
Task<CopyStats> copy_to_pipe_as_qcow2(Image& source, PipeWriter& target, qcow2::CreateOptions qcow2,
                                      const CopyOptions& options);

}  // namespace platter
