// Moves an image's contents to another image: many requests in flight, memory bounded.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "formats/image.h"
#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"

namespace platter {

struct CopyOptions {
  /// Runs of zeroes of at least this many bytes, at multiples of it, are not written: a multiple
  /// of 512. 0: everything is written, holes of the source too.
  std::uint64_t sparse_size = 4096;
  /// The target reads as zeroes to begin with, from `target_backing_size` on.
  bool target_is_zero = false;
  /// The target stands on the same backing image as the source: what the source leaves to it is
  /// left to it. Its size in bytes.
  std::optional<std::uint64_t> target_backing_size;
  /// Write clusters of this many bytes in compressed form; 0: as they are.
  std::uint64_t compress_unit = 0;
  /// Let the kernel move data from file to file (copy_file_range) where it can. No zeroes are
  /// looked for then.
  bool offload_copy = false;
  /// Pieces in flight at once, at most; 0: as the engine likes. Memory: at most 1 MiB each.
  unsigned parallel = 0;
  /// Bytes each second; 0: no limit.
  std::uint64_t rate_limit = 0;
  /// Go on where the source can't be read: the unreadable blocks become zeroes, and each is told.
  bool salvage = false;
  std::function<void(const Error&)> on_salvage;
  const CancelToken* cancel = nullptr;
  Progress* progress = nullptr;
};

/// What was done, in bytes.
struct CopyStats {
  std::uint64_t read = 0;
  std::uint64_t written = 0;
  std::uint64_t zeroed = 0;
  std::uint64_t skipped = 0;
};

/// Makes the first source.virtual_size() bytes of `target` equal to `source`, in any order. Does
/// not flush. On an error or cancellation what is in flight is awaited, and any part of the
/// target may have been written.
/// REQUIRES: target.virtual_size() >= source.virtual_size().
/// Errors: those of the two images, with the place; cancelled.
Task<CopyStats> copy_image(Image& source, Image& target, CopyOptions options);

}  // namespace platter
