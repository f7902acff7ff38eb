// What the upper layers of a backing chain hold, without what they leave to a lower one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "formats/read_only_image.h"

namespace platter {

/// Read-only. Owns nothing: the chain outlives it. What the layers from `top` down to above `base`
/// leave to the base is unallocated; what they hide without holding anything (one of them is shorter)
/// is zeroes. read() reads the chain, the base included.
class LayersAbove final : public ReadOnlyImage {
 public:
  /// REQUIRES: `base` is in the backing chain of `top`.
  LayersAbove(Image& top, const Image& base);

  const std::string& filename() const noexcept override { return top_.filename(); }
  std::string_view format() const noexcept override { return top_.format(); }
  std::uint64_t virtual_size() const noexcept override { return top_.virtual_size(); }
  File& file() noexcept override { return top_.file(); }
  Task<ImageInfo> info() override { return top_.info(); }
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override {
    return top_.read(offset, into);
  }
  /// The chain is closed by its owner.
  Task<void> close() override { co_return; }

 private:
  Image& top_;
  const Image& base_;
  unsigned base_depth_ = 0;
};

}  // namespace platter
