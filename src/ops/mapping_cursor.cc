#include "src/ops/mapping_cursor.h"

#include <limits>

namespace platter {
namespace {

constexpr std::size_t kMappingsAtOnce = 256;
constexpr std::uint64_t kNowhere = std::numeric_limits<std::uint64_t>::max();

std::uint64_t end_of(const Mapping& mapping) { return mapping.offset + mapping.length; }

}  // namespace

Task<Mapping> MappingCursor::at(std::uint64_t offset) {
  const std::uint64_t size = image_ != nullptr ? image_->virtual_size() : 0;
  if (offset >= size) {
    co_return Mapping{
        .offset = offset, .length = kNowhere - offset, .kind = MappingKind::unallocated};
  }
  while (next_ < batch_.size() && end_of(batch_[next_]) <= offset) ++next_;
  if (next_ == batch_.size()) {
    batch_ = co_await image_->map_chain(offset, size - offset, kMappingsAtOnce);
    next_ = 0;
  }
  Mapping rest = batch_[next_];
  const std::uint64_t passed = offset - rest.offset;
  if (rest.file != nullptr) rest.file_offset += passed;
  rest.length -= passed;
  rest.offset = offset;
  co_return rest;
}

}  // namespace platter
