// Checking an image's metadata, and repairing it.
#pragma once

#include <functional>
#include <string_view>

#include "formats/qcow2/check.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter {

struct CheckImageOptions {
  qcow2::Repair repair = qcow2::Repair::none;
  std::uint64_t memory_max = qcow2::CheckOptions().memory_max;  ///< bytes
  const CancelToken* cancel = nullptr;
  /// Told each thing that is wrong or changed, one line.
  std::function<void(std::string_view)> on_message;
  /// Told what a repair changed, before the image is checked once more.
  std::function<void(const qcow2::CheckReport&)> on_repaired;
};

/// Checks the image in `file`. After a repair that changed something it is checked again: the
/// report then tells what is left, and what was fixed.
/// Errors: unsupported (the format has nothing to check), those of opening, io, corrupt_image.
/// `opened` is set once the header was accepted.
Task<qcow2::CheckReport> check_image(File& file, std::string_view format, CheckImageOptions options,
                                     bool& opened);

}  // namespace platter
