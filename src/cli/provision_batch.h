// Many disks in one process.
#pragma once

#include <string>

#include "src/cli/context.h"
#include "src/provision/image_backend.h"

namespace platter::cli {

struct BatchOptions {
  std::string file;  ///< "-": standard input
  bool planned = false;
  bool quiet = false;
};

/// One disk for each line, a JSON object with "instance", "disk" and, if it is not to be that of
/// `common`, "size" in bytes; several at a time. Prints a line of JSON for each disk as it is done; those
/// that fail have "error". All lines are read before the first disk is made. Returns the exit code:
/// success only if all went well.
int provision_batch(Context& context, provision::ImageBackend& backend,
                    const provision::DiskRequest& common, const BatchOptions& options);

}  // namespace platter::cli
