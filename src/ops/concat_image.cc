#include "src/ops/concat_image.h"

#include <algorithm>

#include "io/bytes.h"

namespace platter {

Result<std::unique_ptr<Image>> ConcatImage::make(std::vector<std::unique_ptr<Image>> parts) {
  PLATTER_CHECK(!parts.empty());
  if (parts.size() == 1) return std::move(parts.front());
  std::uint64_t total = 0;
  for (const auto& part : parts) {
    const auto sum = checked_add(total, part->virtual_size());
    if (!sum || *sum > kMaxFileSize) {
      return fail(ErrorKind::too_large, "the sources together are larger than any image can be");
    }
    total = *sum;
  }
  return std::unique_ptr<Image>(new ConcatImage(std::move(parts)));
}

ConcatImage::ConcatImage(std::vector<std::unique_ptr<Image>> parts) : parts_(std::move(parts)) {
  std::uint64_t end = 0;
  for (const auto& part : parts_) ends_.push_back(end += part->virtual_size());
}

std::size_t ConcatImage::part_at(std::uint64_t offset) const noexcept {
  return static_cast<std::size_t>(std::ranges::upper_bound(ends_, offset) - ends_.begin());
}

Task<ImageInfo> ConcatImage::info() { return parts_.front()->info(); }

Task<std::vector<Mapping>> ConcatImage::map(std::uint64_t offset, std::uint64_t length,
                                            std::size_t count_max) {
  co_await check_bounds(offset, length);
  if (length == 0) co_return std::vector<Mapping>();
  const std::size_t part = part_at(offset);
  const std::uint64_t begin = begin_of(part);
  const std::uint64_t within = std::min(length, ends_[part] - offset);
  std::vector<Mapping> mappings =
      co_await parts_[part]->map_chain(offset - begin, within, count_max);
  for (Mapping& mapping : mappings) mapping.offset += begin;
  co_return mappings;
}

Task<void> ConcatImage::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_bounds(offset, into.size());
  while (!into.empty()) {
    const std::size_t part = part_at(offset);
    const std::size_t count = std::min<std::uint64_t>(into.size(), ends_[part] - offset);
    co_await parts_[part]->read(offset - begin_of(part), into.first(count));
    offset += count;
    into = into.subspan(count);
  }
}

Task<void> ConcatImage::close() {
  Result<void> first;
  for (const auto& part : parts_) {
    Result<void> closed = co_await part->close().result();
    if (first && !closed) first = std::move(closed);
  }
  co_await std::move(first);
}

}  // namespace platter
