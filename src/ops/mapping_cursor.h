// An image's mappings one after the other, for who goes through it once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "formats/image.h"
#include "io/task.h"

namespace platter {

/// True for what need not be read.
constexpr bool reads_as_zeroes(MappingKind kind) noexcept {
  return kind == MappingKind::zero || kind == MappingKind::unallocated;
}

/// Walks an image's mappings in order, through its chain, fetched in batches; past its end all is
/// zero. Belongs to the image's ring.
class MappingCursor {
 public:
  /// Null: an image of no bytes.
  explicit MappingCursor(Image* image) : image_(image) {}

  /// The rest of the run at `offset`. `offset` never goes back. Errors: as Image::map_chain().
  Task<Mapping> at(std::uint64_t offset);

 private:
  Image* image_;
  std::vector<Mapping> batch_;
  std::size_t next_ = 0;
};

}  // namespace platter
