// A filesystem made as large as the disk that it is on.
#pragma once

#include "io/cancel.h"
#include "io/direct_file.h"
#include "io/task.h"

namespace platter::provision {

/// Checks and grows an ext2, ext3 or ext4 filesystem that begins at the raw disk's first byte, by this
/// system's e2fsck and resize2fs (see run_program.h). False: there is none, or it is as large already;
/// nothing has changed. Nobody else may use the disk. The disk's size stays; what was written is durable.
///
/// Errors: unsupported (the programs are not installed), io (e2fsck can't repair it by itself, or
/// resize2fs fails), timed_out, cancelled, and those of the file.
Task<bool> grow_ext_filesystem(DirectFile& disk, const CancelToken* cancel);

}  // namespace platter::provision
