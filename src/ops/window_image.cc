#include "src/ops/window_image.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "io/bytes.h"
#include "io/check.h"

namespace platter {

ByteWindow window_of(const BlockWindow& blocks, std::uint64_t size) noexcept {
  if (blocks.count) {
    const auto end = checked_mul(*blocks.count, blocks.block_size);
    if (end) size = std::min(size, *end);
  }
  const auto begin = checked_mul(blocks.skip, blocks.block_size);
  if (!begin || *begin > size) return {.skips_too_much = true};
  return {.offset = *begin, .length = size - *begin};
}

WindowImage::WindowImage(std::unique_ptr<Image> image, ByteWindow window)
    : image_(std::move(image)), window_(window), size_(align_up(window.length, kSectorSize)) {
  PLATTER_CHECK(in_bounds(window.offset, window.length, image_->virtual_size()));
}

Task<std::vector<Mapping>> WindowImage::map(std::uint64_t offset, std::uint64_t length,
                                            std::size_t count_max) {
  co_await check_bounds(offset, length);
  std::vector<Mapping> mappings;
  if (length == 0) co_return mappings;
  if (offset < window_.length) {
    mappings = co_await image_->map_chain(window_.offset + offset,
                                          std::min(length, window_.length - offset), count_max);
    for (Mapping& mapping : mappings) {
      mapping.offset -= window_.offset;
      mapping.depth = 0;
    }
    co_return mappings;
  }
  mappings.push_back({.offset = offset, .length = length, .kind = MappingKind::zero});
  co_return mappings;
}

Task<void> WindowImage::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_bounds(offset, into.size());
  const std::uint64_t left = window_.length - std::min(window_.length, offset);
  const std::span<std::byte> part = into.first(std::min<std::uint64_t>(left, into.size()));
  if (!part.empty()) co_await image_->read(window_.offset + offset, part);
  const std::span<std::byte> rest = into.subspan(part.size());
  if (!rest.empty()) std::memset(rest.data(), 0, rest.size());
}

}  // namespace platter
