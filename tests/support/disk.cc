#include "tests/support/disk.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "io/bytes.h"

namespace platter::test {
namespace {

constexpr std::uint64_t kChunkSize = Disk::kChunkSize;

// Calls visit(chunk's index, offset in it, length) for each chunk that the range touches.
template <class Visit>
void for_each_chunk(std::uint64_t begin, std::uint64_t end, Visit visit) {
  while (begin < end) {
    const std::uint64_t in_chunk = begin % kChunkSize;
    const std::uint64_t length = std::min(end - begin, kChunkSize - in_chunk);
    visit(begin / kChunkSize, in_chunk, length);
    begin += length;
  }
}

}  // namespace

const Disk::Chunk* Disk::find(std::uint64_t index) const {
  if (const auto own = changed_.find(index); own != changed_.end()) return own->second.get();
  const auto shared = folded_->find(index);
  return shared != folded_->end() ? shared->second.get() : nullptr;
}

Disk::Chunk& Disk::chunk_for_writing(std::uint64_t index) {
  if (const auto own = changed_.find(index); own != changed_.end() && own->second) {
    if (own->second.use_count() > 1) own->second = std::make_shared<Chunk>(*own->second);
    return *own->second;
  }
  const Chunk* before = find(index);
  auto copy = before != nullptr ? std::make_shared<Chunk>(*before) : std::make_shared<Chunk>();
  return *(changed_[index] = std::move(copy));
}

void Disk::clear_chunk(std::uint64_t index) {
  if (folded_->contains(index)) {
    changed_[index] = nullptr;
  } else {
    changed_.erase(index);
  }
}

std::size_t Disk::read(std::uint64_t offset, std::span<std::byte> into) const {
  if (offset >= size_) return 0;
  const std::size_t count = std::min<std::uint64_t>(into.size(), size_ - offset);
  std::byte* to = into.data();
  for_each_chunk(offset, offset + count,
                 [&](std::uint64_t index, std::uint64_t at, std::uint64_t length) {
                   if (const Chunk* chunk = find(index)) {
                     std::memcpy(to, chunk->data() + at, length);
                   } else {
                     std::memset(to, 0, length);
                   }
                   to += length;
                 });
  return count;
}

void Disk::write(std::uint64_t offset, std::span<const std::byte> data) {
  const std::byte* from = data.data();
  for_each_chunk(offset, offset + data.size(),
                 [&](std::uint64_t index, std::uint64_t at, std::uint64_t length) {
                   std::memcpy(chunk_for_writing(index).data() + at, from, length);
                   from += length;
                 });
  if (!data.empty()) size_ = std::max(size_, offset + data.size());
}

// Looks only at chunks that exist: a range may be exbibytes long.
void Disk::zero(std::uint64_t offset, std::uint64_t length) {
  if (offset >= size_ || length == 0) return;
  const std::uint64_t end = offset + std::min(length, size_ - offset);
  std::set<std::uint64_t> present;
  for (const Chunks* chunks :
       {static_cast<const Chunks*>(folded_.get()), &std::as_const(changed_)}) {
    for (auto it = chunks->lower_bound(offset / kChunkSize);
         it != chunks->end() && it->first * kChunkSize < end; ++it) {
      if (find(it->first) != nullptr) present.insert(it->first);
    }
  }
  for (const std::uint64_t index : present) {
    const std::uint64_t begin = index * kChunkSize;
    const std::uint64_t from = std::max(offset, begin);
    // Nothing lies past the size: a chunk that is cleared up to there is clear.
    const std::uint64_t to = end == size_ ? begin + kChunkSize : std::min(end, begin + kChunkSize);
    if (from == begin && to == begin + kChunkSize) {
      clear_chunk(index);
    } else {
      std::memset(chunk_for_writing(index).data() + (from - begin), 0, to - from);
    }
  }
}

void Disk::resize(std::uint64_t size) {
  if (size < size_) zero(size, size_ - size);
  size_ = size;
}

std::vector<Extent> Disk::extents(std::uint64_t offset, std::uint64_t length,
                                  std::size_t count_max) const {
  std::vector<Extent> found;
  if (offset >= size_) return found;
  const std::uint64_t end = offset + std::min(length, size_ - offset);
  const auto next_present = [this](std::uint64_t index) -> std::optional<std::uint64_t> {
    auto own = changed_.lower_bound(index);
    while (own != changed_.end() && !own->second) ++own;
    auto shared = folded_->lower_bound(index);
    while (shared != folded_->end() && find(shared->first) == nullptr) ++shared;
    std::optional<std::uint64_t> next;
    if (own != changed_.end()) next = own->first;
    if (shared != folded_->end()) next = std::min(next.value_or(shared->first), shared->first);
    return next;
  };
  for (std::uint64_t at = offset; at < end;) {
    const std::optional<std::uint64_t> present = next_present(at / kChunkSize);
    const bool data = present && *present == at / kChunkSize;
    std::uint64_t next = end;
    if (data) {
      next = std::min(end, align_down(at, kChunkSize) + kChunkSize);
    } else if (present) {
      next = std::min(end, *present * kChunkSize);
    }
    if (!found.empty() && found.back().data == data) {
      found.back().length += next - at;
    } else {
      if (found.size() == count_max) break;
      found.push_back({.offset = at, .length = next - at, .data = data});
    }
    at = next;
  }
  return found;
}

std::vector<std::byte> Disk::bytes() const {
  std::vector<std::byte> all(size_);
  read(0, all);
  return all;
}

void Disk::fold() {
  if (changed_.empty()) return;
  if (folded_.use_count() > 1) folded_ = std::make_shared<Chunks>(*folded_);
  for (auto& [index, chunk] : changed_) {
    if (chunk) {
      (*folded_)[index] = std::move(chunk);
    } else {
      folded_->erase(index);
    }
  }
  changed_.clear();
}

}  // namespace platter::test
