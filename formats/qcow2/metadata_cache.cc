#include "formats/qcow2/metadata_cache.h"

#include <algorithm>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/check.h"
#include "io/ring.h"

namespace platter::qcow2 {

std::byte* SlicePool::take() {
  constexpr std::size_t kPiece = 256 * kKiB;
  if (free_.empty()) {
    pieces_.emplace_back(static_cast<std::byte*>(::operator new(kPiece, std::align_val_t{4096})));
    for (std::size_t at = 0; at + slice_size_ <= kPiece; at += slice_size_) {
      free_.push_back(pieces_.back().get() + at);
    }
  }
  std::byte* const slice = free_.back();
  free_.pop_back();
  return slice;
}

MetadataCache::MetadataCache(File& file, std::size_t slice_size, std::uint64_t memory_max)
    : file_(file),
      slice_size_(slice_size),
      pool_(std::make_shared<SlicePool>(slice_size)),
      slices_max_(std::max<std::size_t>(8, memory_max / slice_size)),
      // An epoch freezes copies: together they stay within a half.
      dirty_max_(slices_max_ / 4) {}

std::shared_ptr<TableSlice> MetadataCache::new_slice(std::uint64_t offset, TableKind kind) const {
  return std::make_shared<TableSlice>(offset, kind, pool_);
}

Result<void> MetadataCache::check_kind(const TableSlice& slice, TableKind kind) const {
  if (slice.kind() == kind) return {};
  return fail(ErrorKind::corrupt_image,
              fmt::format("'{}': the table at offset {:#x} is used both as an L2 table and as a "
                          "refcount block",
                          file_.name(), slice.offset()));
}

Task<std::shared_ptr<TableSlice>> MetadataCache::get(std::uint64_t offset, TableKind kind) {
  if (const auto found = cached_.find(offset); found != cached_.end()) {
    Cached& cached = found->second;
    if (cached.recency != recency_.end()) {
      recency_.splice(recency_.begin(), recency_, cached.recency);
    }
    const std::shared_ptr<TableSlice> slice = cached.slice;
    co_await check_kind(*slice, kind);
    co_return slice;
  }
  if (const auto found = loading_.find(offset); found != loading_.end()) {
    const std::shared_ptr<Loading> other = found->second;
    co_await other->done.wait();
    if (!other->stale && !other->result) co_return fail(other->result.error().clone());
    co_return co_await get(offset, kind);  // much may have happened since it was read
  }
  const auto mine = std::make_shared<Loading>();
  loading_.emplace(offset, mine);
  mine->result = co_await load(offset, kind).result();
  if (!mine->stale) {
    loading_.erase(offset);
    if (mine->result) insert(*mine->result);
  }
  mine->done.set();
  if (mine->stale) co_return co_await get(offset, kind);
  if (!mine->result) co_return fail(mine->result.error().clone());
  co_return *mine->result;
}

Task<std::shared_ptr<TableSlice>> MetadataCache::load(std::uint64_t offset, TableKind kind) {
  auto slice = new_slice(offset, kind);
  const std::size_t count = co_await file_.read(offset, slice->bytes());
  if (count == 0) {
    co_return fail(
        ErrorKind::corrupt_image,
        fmt::format("'{}': {} at offset {} lies past the end of the file", file_.name(),
                    kind == TableKind::l2_table ? "an L2 table" : "a refcount block", offset));
  }
  // The last cluster of a file may be cut short: the rest of it is zeroes.
  std::memset(slice->bytes().data() + count, 0, slice_size_ - count);
  co_return slice;
}

Task<void> MetadataCache::prefetch(std::uint64_t offset, std::uint64_t length, TableKind kind) {
  std::vector<std::shared_ptr<Loading>> mine;
  for (std::uint64_t at = offset; at < offset + length; at += slice_size_) {
    if (cached_.contains(at) || loading_.contains(at)) {
      mine.push_back(nullptr);
      continue;
    }
    mine.push_back(std::make_shared<Loading>());
    loading_.emplace(at, mine.back());
  }
  if (std::ranges::all_of(mine, [](const auto& loading) { return loading == nullptr; })) co_return;
  Result<Buffer> buffer = Ring::current().buffers().acquire(length);
  Result<std::size_t> count = 0;
  if (buffer) count = co_await file_.read(offset, buffer->bytes()).result();
  for (std::size_t i = 0; i < mine.size(); ++i) {
    if (!mine[i]) continue;
    const std::uint64_t at = offset + i * slice_size_;
    const std::size_t begin = i * slice_size_;
    // Whatever went wrong shows again to the one who needs the slice.
    if (!buffer || !count || *count <= begin) mine[i]->stale = true;
    if (!mine[i]->stale) {
      const std::size_t part = std::min(slice_size_, *count - begin);
      auto slice = new_slice(at, kind);
      std::memcpy(slice->bytes().data(), buffer->data() + begin, part);
      std::memset(slice->bytes().data() + part, 0, slice_size_ - part);
      mine[i]->result = slice;
      insert(slice);
    }
    if (const auto entry = loading_.find(at); entry != loading_.end() && entry->second == mine[i]) {
      loading_.erase(entry);
    }
    mine[i]->done.set();
  }
}

std::shared_ptr<TableSlice> MetadataCache::add_zeroed(std::uint64_t offset, TableKind kind,
                                                      bool fresh) {
  forget(offset, slice_size_);
  auto slice = new_slice(offset, kind);
  std::memset(slice->bytes().data(), 0, slice_size_);
  slice->fresh_ = fresh;
  insert(slice);
  mark_dirty(*slice);
  return slice;
}

void MetadataCache::mark_dirty(TableSlice& slice) {
  if (slice.dirty_) return;
  const auto found = cached_.find(slice.offset_);
  PLATTER_CHECK(found != cached_.end() && found->second.slice.get() == &slice);
  slice.dirty_ = true;
  dirty_.emplace(slice.offset_, found->second.slice);
  pin(found->second);
}

void MetadataCache::forget(std::uint64_t offset, std::uint64_t length) {
  for (std::uint64_t at = offset; at < offset + length; at += slice_size_) {
    if (const auto loading = loading_.find(at); loading != loading_.end()) {
      loading->second->stale = true;
      loading_.erase(loading);
    }
    const auto found = cached_.find(at);
    if (found == cached_.end()) continue;
    pin(found->second);  // off the list of those that may go
    dirty_.erase(at);
    cached_.erase(found);
  }
}

void MetadataCache::forget_all() {
  PLATTER_CHECK(dirty_.empty());
  for (const auto& [offset, loading] : loading_) loading->stale = true;
  loading_.clear();
  cached_.clear();
  recency_.clear();
  pool_ = std::make_shared<SlicePool>(slice_size_);  // the old one goes with its last slice
}

std::vector<FrozenSlice> MetadataCache::freeze() {
  std::vector<FrozenSlice> frozen;
  frozen.reserve(dirty_.size());
  for (auto& [offset, slice] : dirty_) {
    slice->dirty_ = false;
    slice->writing_ = true;
    frozen.push_back({slice, slice->fresh_});
  }
  dirty_.clear();
  std::ranges::sort(frozen, {}, [](const FrozenSlice& f) { return f.slice->offset(); });
  return frozen;
}

void MetadataCache::thaw(std::vector<FrozenSlice>& slices, bool written) {
  for (FrozenSlice& frozen : slices) {
    TableSlice& slice = *frozen.slice;
    slice.writing_ = false;
    const auto found = cached_.find(slice.offset_);
    if (found == cached_.end() || found->second.slice.get() != &slice) continue;  // forgotten
    if (!written) {
      mark_dirty(slice);
    } else if (!slice.dirty_) {
      unpin(found->second, slice.offset_);
    }
  }
  slices.clear();
  evict();
}

void MetadataCache::no_longer_fresh(std::vector<FrozenSlice>& slices) {
  for (FrozenSlice& frozen : slices) frozen.slice->fresh_ = false;
}

void MetadataCache::insert(const std::shared_ptr<TableSlice>& slice) {
  recency_.push_front(slice->offset_);
  cached_.insert_or_assign(slice->offset_, Cached{slice, recency_.begin()});
  evict();
}

void MetadataCache::evict() {
  // The newest stays: whoever asked for it has to get it.
  while (cached_.size() > slices_max_ && recency_.size() > 1) {
    // One that is held may be about to be changed.
    const auto oldest = cached_.find(recency_.back());
    if (oldest->second.slice.use_count() > 1) {
      recency_.splice(recency_.begin(), recency_, std::prev(recency_.end()));
      return;
    }
    cached_.erase(oldest);
    recency_.pop_back();
  }
}

void MetadataCache::pin(Cached& cached) {
  if (cached.recency == recency_.end()) return;
  recency_.erase(cached.recency);
  cached.recency = recency_.end();
}

void MetadataCache::unpin(Cached& cached, std::uint64_t offset) {
  if (cached.recency != recency_.end()) return;
  recency_.push_front(offset);
  cached.recency = recency_.begin();
}

}  // namespace platter::qcow2
