// What an overlay holds, written into an image that it stands on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "formats/image.h"
#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/copy_engine.h"
#include "src/ops/progress.h"

namespace platter {

struct CommitOptions {
  /// An image of the chain, as means_file() has it; nothing: the overlay's own backing file.
  std::optional<std::string> base;
  /// Gives up what the overlay holds, once the base has it. Only for the overlay's own backing file:
  /// a layer between would show through.
  bool empty = true;
  std::uint64_t rate_limit = 0;  ///< bytes each second; 0: none
  const CancelToken* cancel = nullptr;
  Progress* progress = nullptr;
};

/// When it returns, all is durable. After an error, a cancellation or a crash the overlay shows what
/// it did before, and the base holds some of that as well. A base that is smaller grows first. Images
/// between the overlay and the base are no longer what they were.
///
/// REQUIRES: `overlay` was opened for writing, with this base as its writable backing image; nobody
/// else uses the chain.
///
/// Errors, in qemu-img's words where it has some: not_found (the base), invalid_argument (no backing
/// file), no_space, corrupt_image, cancelled, io.
Task<CopyStats> commit(Image& overlay, CommitOptions options);

}  // namespace platter
