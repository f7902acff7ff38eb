// Comparing what guests would see.
#pragma once

#include <cstdint>
#include <functional>

#include "formats/image.h"
#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"

namespace platter {

struct CompareOptions {
  /// Sizes and what is allocated must be equal too.
  bool strict = false;
  const CancelToken* cancel = nullptr;
  Progress* progress = nullptr;
  /// Told once, before the rest of the longer image is looked at.
  std::function<void()> on_size_mismatch;
};

enum class CompareOutcome : std::uint8_t {
  identical,         ///< the longer image may go on with zeroes
  size_mismatch,     ///< strict only
  status_mismatch,   ///< strict only: allocated here, a hole there, at `offset`
  content_mismatch,  ///< the 512-byte sector at `offset` differs
};

struct CompareResult {
  CompareOutcome outcome = CompareOutcome::identical;
  std::uint64_t offset = 0;
};

/// Finds the first difference, reading many chunks at once and only what is not known to be zero
/// on both sides. Errors: as Image::read(), Image::map(); cancelled.
Task<CompareResult> compare_images(Image& a, Image& b, CompareOptions options);

}  // namespace platter
