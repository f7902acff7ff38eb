// The sections of `dump` for qcow2 images.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "formats/qcow2/dump_tables.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"
#include "src/cli/dump_output.h"

namespace platter::cli {

/// What is asked for. Ranges are cut to clusters.
struct DumpRequest {
  bool header = false;
  bool l1 = false;
  bool l2 = false;
  bool refcounts = false;
  bool snapshots = false;
  bool bitmaps = false;
  qcow2::DumpRange guest;              ///< for l1 and l2
  qcow2::DumpRange host;               ///< for refcounts
  std::optional<std::uint64_t> owner;  ///< host offset
  std::uint64_t rows_max = 0;          ///< of each list
};

/// Prints the sections. Whatever is wrong with the image is told at its place.
/// Errors: unknown_format, io, cancelled.
Task<void> dump_qcow2(File& file, const DumpRequest& request, DumpOutput& output,
                      const CancelToken* cancel);

}  // namespace platter::cli
