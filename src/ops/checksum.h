// A digest of what an image shows its guest, whatever its format.
#pragma once

#include <string>
#include <string_view>

#include "formats/image.h"
#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"

namespace platter {

/// ALGORITHM, or ALGORITHM-tree; see docs/checksum.md.
struct ChecksumAlgorithm {
  std::string digest = "sha256";  ///< see Digest::algorithms()
  bool tree = false;
};
/// Errors: invalid_argument, unsupported.
Result<ChecksumAlgorithm> parse_checksum_algorithm(std::string_view name);

struct ChecksumOptions {
  ChecksumAlgorithm algorithm;
  const CancelToken* cancel = nullptr;
  Progress* progress = nullptr;  ///< guest bytes
};

/// Plain: the digest of all guest bytes in order, as of a raw image. Tree: the digest of the digests of
/// all blocks of 1 MiB, in order, the last one shorter.
///
/// Reads ahead and computes on workers: at most 16 MiB in flight. What the image's map calls zero is not
/// read. Returns hexadecimal digits. Errors: those of the image, cancelled, unsupported.
Task<std::string> checksum_image(Image& image, ChecksumOptions options);

}  // namespace platter
