#include "src/ops/mapping_cursor.h"

#include <limits>

namespace platter {
namespace {

constexpr std::size_t kMappingsAtOnce = 256;
constexpr std::uint64_t kNowhere = std::numeric_limits<std::uint64_t>::max();

std::uint64_t end_of(const Mapping& mapping) { return mapping.offset + mapping.length; }

}  // namespace

Task<Mapping> MappingCursor::at(std::uint64_t offset) {
  if (offset >= image_.virtual_size()) {
    co_return Mapping{
        .offset = offset, .length = kNowhere - offset, .kind = MappingKind::unallocated};
  }
  while (next_ < batch_.size() && end_of(batch_[next_]) <= offset) ++next_;
  if (next_ == batch_.size()) {
    batch_ = co_await image_.map_chain(offset, image_.virtual_size() - offset, kMappingsAtOnce);
    next_ = 0;
  }
  Mapping rest = batch_[next_];
  rest.length = end_of(rest) - offset;
  rest.offset = offset;
  co_return rest;
}

}  // namespace platter
