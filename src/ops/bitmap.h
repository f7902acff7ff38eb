// Persistent dirty bitmaps of an open image.
#pragma once

#include <cstdint>
#include <string>

#include "formats/image.h"
#include "io/task.h"

namespace platter {

struct BitmapAction {
  enum class Kind : std::uint8_t { add, remove, clear, enable, disable, merge };
  Kind kind = Kind::add;
  std::uint64_t granularity = 0;  ///< add: guest bytes for one bit; 0: as qemu-img chooses
  std::string source{};           ///< merge: the other bitmap
  Image* source_image = nullptr;  ///< merge: where that is; null: in the same image
};

/// Does one thing with the bitmap `name` of an image that is open for writing and not written to
/// meanwhile. It is durable after the image's finish() or close(). Listing them: Image::info().
///
/// Errors, in qemu-img's words: not_found, already_exists, invalid_argument, unsupported (the
/// format, or this image, has none), too_large, out_of_memory, corrupt_image (inconsistent), io.
Task<void> change_bitmap(Image& image, std::string name, BitmapAction action);

}  // namespace platter
