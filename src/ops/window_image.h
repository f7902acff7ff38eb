// A part of an image, seen as an image.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "formats/read_only_image.h"

namespace platter {

/// A part in blocks, as `dd` counts: the first `count` blocks (nothing: all), without the first `skip`
/// ones of these.
struct BlockWindow {
  std::uint64_t block_size = 512;  ///< bytes, > 0
  std::optional<std::uint64_t> count;
  std::uint64_t skip = 0;
};

/// Guest bytes of an image.
struct ByteWindow {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool skips_too_much = false;  ///< more is to be skipped than there is; the length is 0 then
};
/// What the blocks are of an image of `size` bytes.
ByteWindow window_of(const BlockWindow& blocks, std::uint64_t size) noexcept;

/// Read-only; owns the image, and closes it. Up to the next multiple of 512 bytes zeroes follow.
class WindowImage final : public ReadOnlyImage {
 public:
  /// REQUIRES: the window lies within the image.
  WindowImage(std::unique_ptr<Image> image, ByteWindow window);

  const std::string& filename() const noexcept override { return image_->filename(); }
  std::string_view format() const noexcept override { return image_->format(); }
  std::uint64_t virtual_size() const noexcept override { return size_; }
  File& file() noexcept override { return image_->file(); }
  Task<ImageInfo> info() override { return image_->info(); }
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> close() override { return image_->close(); }

 private:
  std::unique_ptr<Image> image_;
  ByteWindow window_;
  std::uint64_t size_;
};

}  // namespace platter
