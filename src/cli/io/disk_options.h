// How an image is to be opened, as the command line and the commands open and reopen say it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"
#include "src/cli/arguments.h"
#include "src/cli/io/disk.h"

namespace platter::cli {

// Errors, everywhere: invalid_argument, in qemu-io's words.

/// `-t`: none, writeback, ...
Result<void> set_cache(DiskOptions& options, std::string_view mode);
/// `-d`: ignore (off), unmap (on).
Result<void> set_discard(DiskOptions& options, std::string_view mode);
/// `-i`: threads, native, io_uring.
Result<void> set_engine(DiskOptions& options, std::string_view mode);

/// `-o` of open: QEMU's names of options. What only tunes QEMU's driver is taken, and changes nothing.
Result<void> set_driver_options(DiskOptions& options, const std::vector<CreateOption>& given);
/// `-o` of reopen: those that can change while an image of this format is open.
Result<void> change_driver_options(DiskOptions& options, std::string_view format,
                                   const std::vector<CreateOption>& given);

}  // namespace platter::cli
