#include "io/memory_file.h"

#include <algorithm>
#include <cstring>

#include "io/bytes.h"

namespace platter {

MemoryFile::MemoryFile(std::string name, std::uint64_t size)
    : name_(std::move(name)), size_(size) {}

Result<void> MemoryFile::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (in_bounds(offset, length, kMaxFileSize)) return {};
  return fail(ErrorKind::too_large, "'" + name_ + "' can't hold " + std::to_string(length) +
                                        " bytes at offset " + std::to_string(offset));
}

std::byte* MemoryFile::chunk_for_writing(std::uint64_t index) {
  Chunk& chunk = chunks_[index];
  if (!chunk) chunk = std::make_unique<std::byte[]>(kChunkSize);
  return chunk.get();
}

Task<std::uint64_t> MemoryFile::size() { co_return size_; }

Task<std::size_t> MemoryFile::read(std::uint64_t offset, std::span<std::byte> into) {
  if (offset >= size_) co_return std::size_t{0};
  const std::size_t count = std::min<std::uint64_t>(into.size(), size_ - offset);
  for (std::size_t done = 0; done < count;) {
    const std::uint64_t at = offset + done;
    const std::size_t in_chunk = at % kChunkSize;
    const std::size_t piece = std::min<std::size_t>(count - done, kChunkSize - in_chunk);
    const auto found = chunks_.find(at / kChunkSize);
    if (found == chunks_.end()) {
      std::memset(into.data() + done, 0, piece);
    } else {
      std::memcpy(into.data() + done, found->second.get() + in_chunk, piece);
    }
    done += piece;
  }
  co_return count;
}

Task<void> MemoryFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_range(offset, data.size());
  for (std::size_t done = 0; done < data.size();) {
    const std::uint64_t at = offset + done;
    const std::size_t in_chunk = at % kChunkSize;
    const std::size_t piece = std::min<std::size_t>(data.size() - done, kChunkSize - in_chunk);
    std::memcpy(chunk_for_writing(at / kChunkSize) + in_chunk, data.data() + done, piece);
    done += piece;
  }
  if (!data.empty()) size_ = std::max(size_, offset + data.size());
}

Task<void> MemoryFile::flush() { co_return; }

void MemoryFile::fill_with_zeroes(std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t in_chunk = at % kChunkSize;
    const std::uint64_t piece = std::min(end - at, kChunkSize - in_chunk);
    std::memset(chunk_for_writing(at / kChunkSize) + in_chunk, 0, piece);
    at += piece;
  }
}

// Drops whole chunks and clears what is left of partial ones; takes time by chunks, not by length.
void MemoryFile::unmap(std::uint64_t begin, std::uint64_t end) {
  if (begin >= end) return;
  for (auto it = chunks_.lower_bound(begin / kChunkSize); it != chunks_.end();) {
    const std::uint64_t chunk_begin = it->first * kChunkSize;
    if (chunk_begin >= end) break;
    const std::uint64_t from = std::max(begin, chunk_begin);
    const std::uint64_t to = std::min(end, chunk_begin + kChunkSize);
    if (to - from == kChunkSize) {
      it = chunks_.erase(it);
    } else {
      std::memset(it->second.get() + (from - chunk_begin), 0, to - from);
      ++it;
    }
  }
}

Task<void> MemoryFile::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  co_await check_range(offset, length);
  if (mode == ZeroMode::keep_allocated) {
    fill_with_zeroes(offset, offset + length);
  } else {
    unmap(offset, offset + length);
  }
  if (length > 0) size_ = std::max(size_, offset + length);
}

Task<void> MemoryFile::discard(std::uint64_t offset, std::uint64_t length) {
  if (offset < size_) unmap(offset, offset + std::min(length, size_ - offset));
  co_return;
}

Task<void> MemoryFile::truncate(std::uint64_t size) {
  co_await check_range(size, 0);
  // What is cut off must read as zeroes should the file grow again.
  if (size < size_) unmap(size, align_up(size_, kChunkSize));
  size_ = size;
}

Task<void> MemoryFile::allocate(std::uint64_t offset, std::uint64_t length) {
  co_await check_range(offset, length);
  for (std::uint64_t at = align_down(offset, kChunkSize); at < offset + length; at += kChunkSize) {
    chunk_for_writing(at / kChunkSize);
  }
  if (length > 0) size_ = std::max(size_, offset + length);
}

Task<std::vector<Extent>> MemoryFile::extents(std::uint64_t offset, std::uint64_t length,
                                              std::size_t count_max) {
  std::vector<Extent> found;
  if (offset >= size_) co_return found;
  const std::uint64_t end = offset + std::min(length, size_ - offset);
  auto chunk = chunks_.lower_bound(offset / kChunkSize);
  for (std::uint64_t at = offset; at < end;) {
    const bool data = chunk != chunks_.end() && chunk->first == at / kChunkSize;
    std::uint64_t next = data ? align_down(at, kChunkSize) + kChunkSize
                              : (chunk != chunks_.end() ? chunk->first * kChunkSize : end);
    next = std::min(next, end);
    if (data) ++chunk;
    if (!found.empty() && found.back().data == data) {
      found.back().length += next - at;
    } else {
      if (found.size() == count_max) break;
      found.push_back({.offset = at, .length = next - at, .data = data});
    }
    at = next;
  }
  co_return found;
}

Task<void> MemoryFile::close() { co_return; }

}  // namespace platter
