// An image's mappings, asked for in order.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/image.h"
#include "io/task.h"

namespace platter {

inline bool reads_as_zeroes(MappingKind kind) noexcept {
  return kind == MappingKind::zero || kind == MappingKind::unallocated;
}

/// Walks the mappings of an image and its backing chain, fetched in batches. Past its end nothing is
/// allocated, for ever. One thread.
class MappingCursor {
 public:
  /// Null: an image of no bytes. `until`: see Image::map_chain().
  explicit MappingCursor(Image* image, const Image* until = nullptr)
      : image_(image), until_(until) {}

  /// What lies at `offset`, and for how long. `offset` never goes back.
  Task<Mapping> at(std::uint64_t offset);

 private:
  Image* image_;
  const Image* until_;
  std::vector<Mapping> batch_;
  std::size_t next_ = 0;
};

}  // namespace platter
