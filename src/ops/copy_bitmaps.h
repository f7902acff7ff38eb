// Persistent bitmaps of one image, made in another one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/image.h"
#include "io/task.h"

namespace platter {

struct BitmapCopyOptions {
  bool wanted = false;
  /// Inconsistent ones are left out, and told of; else they are an error.
  bool skip_inconsistent = false;
  std::function<void(const std::string& name)> on_skipped = nullptr;
};

/// The bitmaps of a disk of `size` bytes.
struct BitmapSource {
  Image* image = nullptr;
  std::uint64_t size = 0;
  std::vector<BitmapInfo> bitmaps;
};

/// What there is to copy. Errors, in qemu-img's words: unsupported (the image can have none),
/// corrupt_image (one is inconsistent), io.
Task<BitmapSource> find_bitmaps(Image& source, const BitmapCopyOptions& options);

/// The error for a target whose format, or version, has none.
Error no_bitmaps_in(std::string_view format);
/// Before an open target is written to: whether it can have them. Errors, in qemu-img's words:
/// unsupported, already_exists, invalid_argument (a disk of another size).
Result<void> check_takes_bitmaps(const BitmapSource& source, Image& target);

/// Makes them with the same names, granularity and bits, recording where they do in the source. Durable
/// after the target's finish(). REQUIRES: check_takes_bitmaps(); the target is open for writing and
/// not written to any more. Errors, in qemu-img's words: those of Bitmaps, io.
Task<void> copy_bitmaps(const BitmapSource& source, Image& target, BitmapCopyOptions options);

}  // namespace platter
