#include "formats/qcow2/table_cache.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "io/bytes.h"

namespace platter::qcow2 {

TableSlice::TableSlice(std::size_t size)
    : size_(size), data_(static_cast<std::byte*>(::operator new(size, std::align_val_t{4096}))) {}

std::uint64_t TableSlice::entry(std::size_t index) const noexcept {
  be64 value;
  std::memcpy(&value, data_.get() + index * sizeof value, sizeof value);
  return value;
}

TableCache::TableCache(File& file, std::size_t slice_size, std::uint64_t memory_max)
    : file_(file),
      slice_size_(slice_size),
      slices_max_(std::max<std::size_t>(1, memory_max / slice_size)) {}

Task<std::shared_ptr<TableSlice>> TableCache::get(std::uint64_t offset) {
  if (const auto found = cached_.find(offset); found != cached_.end()) {
    recency_.splice(recency_.begin(), recency_, found->second.recency);
    co_return found->second.slice;
  }
  if (const auto found = loading_.find(offset); found != loading_.end()) {
    const std::shared_ptr<Loading> other = found->second;
    co_await other->done.wait();
    if (!other->result) co_return fail(other->result.error().clone());
    co_return *other->result;
  }
  const auto mine = std::make_shared<Loading>();
  loading_.emplace(offset, mine);
  mine->result = co_await load(offset).result();
  loading_.erase(offset);
  mine->done.set();
  if (!mine->result) co_return fail(mine->result.error().clone());
  insert(offset, *mine->result);
  co_return *mine->result;
}

Task<std::shared_ptr<TableSlice>> TableCache::load(std::uint64_t offset) {
  auto slice = std::make_shared<TableSlice>(slice_size_);
  const std::size_t count = co_await file_.read(offset, slice->bytes());
  if (count == 0) {
    co_return fail(ErrorKind::corrupt_image, "'" + file_.name() + "': an L2 table at offset " +
                                                 std::to_string(offset) +
                                                 " lies past the end of the file");
  }
  // The last cluster of a file may be cut short: the rest of it is zeroes.
  std::memset(slice->bytes().data() + count, 0, slice_size_ - count);
  co_return slice;
}

void TableCache::insert(std::uint64_t offset, const std::shared_ptr<TableSlice>& slice) {
  while (cached_.size() >= slices_max_) {
    cached_.erase(recency_.back());
    recency_.pop_back();
  }
  recency_.push_front(offset);
  cached_.emplace(offset, Cached{slice, recency_.begin()});
}

}  // namespace platter::qcow2
