// An overlay put on another backing file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "formats/image.h"
#include "formats/open.h"
#include "formats/open_policy.h"
#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"

namespace platter {

struct RebaseOptions {
  /// As the image is to name it, relative to its own folder; nothing: no backing file.
  std::optional<std::string> backing_name;
  /// Must be given for an image to be changed; the new file is opened by it, or by content.
  std::optional<std::string> backing_format;
  /// Only the name is changed: what the guest sees changes with it. The new file is not opened.
  bool unsafe = false;
  /// What is written is compressed, cluster by cluster.
  bool compress = false;
  CacheUse new_cache = CacheUse::direct_if_possible;  ///< of the new backing file
  bool force_share = false;                           ///< takes no lock on it and heeds none
  const CancelToken* cancel = nullptr;
  Progress* progress = nullptr;
  OpenPolicy policy;
};

struct RebaseStats {
  std::uint64_t compared = 0;  ///< bytes of clusters that were looked at
  std::uint64_t written = 0;   ///< bytes of data
  std::uint64_t zeroed = 0;    ///< bytes of zeroes
};

/// Makes the overlay show on the new backing file what it shows now: clusters that differ, of those
/// that it does not hold, are written to it; then the name is changed. Durable when it returns. At
/// every moment, after an error or a crash too, it shows the same: before the name is changed what was
/// written is what the old backing file has.
///
/// REQUIRES: opened for writing; with OpenOptions::without_backing if `unsafe`. Nothing but close()
/// is to follow.
///
/// Errors, in qemu-img's words where it has some; but for reading and writing they come before
/// anything is written: unsupported (the format has no backing files), invalid_argument, no_space
/// (the header), in_use (the overlay is in the new chain), those of opening, cancelled, io.
Task<RebaseStats> rebase(Image& overlay, RebaseOptions options);

}  // namespace platter
