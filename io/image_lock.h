// Locks that QEMU's tools honour, and that honour theirs.
#pragma once

#include <cstdint>
#include <string_view>

#include "io/error.h"

namespace platter {

/// What a user of an image does with it, as QEMU's permissions n = 0..3.
enum class ImageUse : std::uint8_t {
  none = 0,
  consistent_read = 1 << 0,
  write = 1 << 1,
  write_unchanged = 1 << 2,
  resize = 1 << 3,
};
constexpr ImageUse operator|(ImageUse a, ImageUse b) noexcept {
  return static_cast<ImageUse>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
constexpr bool has(ImageUse set, ImageUse use) noexcept {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(use)) != 0;
}

/// What one opener takes: its own uses, and those that it does not share with others.
struct ImageLockRequest {
  ImageUse used = ImageUse::none;
  ImageUse unshared = ImageUse::none;
};

/// Takes the locks of QEMU's file-posix driver: open-file-description read locks on byte 100+n for
/// each use n, on byte 200+n for each use not shared; then looks for others' conflicting bytes.
/// They last until release_image_lock() or until the last descriptor of this open file is closed.
/// On a conflict (ErrorKind::in_use, in QEMU's words) nothing stays locked.
Result<void> acquire_image_lock(int fd, const ImageLockRequest& request, std::string_view path);
void release_image_lock(int fd) noexcept;

}  // namespace platter
