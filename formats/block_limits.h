// What requests to an image have to be like, told in QEMU's terms.
#pragma once

#include <cstdint>
#include <optional>

#include "formats/image.h"
#include "formats/image_info.h"

namespace platter {

/// Bytes, if nothing else is said; nothing: no limit is known.
struct BlockLimits {
  std::uint32_t request_alignment = 1;                  ///< of offsets and lengths
  std::optional<std::uint32_t> discard_alignment;       ///< best for discards
  std::optional<std::uint32_t> write_zeroes_alignment;  ///< best for zeroes
  std::optional<std::uint32_t> hardware_transfer_max;   ///< past the kernel's I/O scheduler
  std::uint32_t iov_max = 0;                            ///< pieces of memory in one request
  std::optional<std::uint32_t> hardware_iov_max;        ///< the same past the I/O scheduler
  std::uint64_t memory_alignment_min = 1;               ///< that needs no copy
  std::uint64_t memory_alignment_best = 1;
};

/// Of the node that the image is, as QEMU has them for a node with these options: most of a file's
/// limits hold for what stands on it, its alignment of requests does not, because a format takes
/// any and has the file below pad them. `info` is the image's; `guessed`: its format was decided by its
/// content. What has no data file open (OpenPurpose::inspect) is told without that file's limits.
/// Errors: io, permission (of what the kernel says of a device).
Result<BlockLimits> block_limits_of(Image& image, const ImageInfo& info, bool guessed);

}  // namespace platter
