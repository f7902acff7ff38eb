#include "tests/support/fake_image.h"

#include <algorithm>
#include <cstring>

#include "io/check.h"
#include "io/run_loop.h"

namespace platter::test {

std::unique_ptr<MemoryFile> memory_file(std::vector<std::byte> bytes, std::string name) {
  auto file = std::make_unique<MemoryFile>(std::move(name));
  Task<void> write = file->write(0, bytes);
  PLATTER_CHECK(write.start() && write.outcome());  // in memory everything finishes at once
  return file;
}

Task<std::vector<std::byte>> guest_bytes(Image& image) {
  std::vector<std::byte> bytes(image.virtual_size());
  co_await image.read(0, bytes);
  co_return bytes;
}

void RunImage::add(MappingKind kind, std::uint64_t length, std::size_t file,
                   std::uint64_t file_offset) {
  Mapping run{.offset = size_, .length = length, .kind = kind};
  if (kind == MappingKind::data || kind == MappingKind::compressed) {
    run.file = files_[file].get();
    run.file_offset = file_offset;
  }
  runs_.push_back(run);
  size_ += length;
}

Task<std::vector<Mapping>> RunImage::map(std::uint64_t offset, std::uint64_t length,
                                         std::size_t count_max) {
  co_await check_bounds(offset, length);
  ++maps_;
  co_await yield();
  const std::uint64_t end = offset + length;
  std::vector<Mapping> found;
  for (Mapping run : runs_) {
    const std::uint64_t run_end = run.offset + run.length;
    if (run_end <= offset || run.offset >= end) continue;
    if (found.size() == std::min(count_max, batch_)) break;
    const std::uint64_t begin = std::max(run.offset, offset);
    run.file_offset += run.file != nullptr ? begin - run.offset : 0;
    run.offset = begin;
    run.length = std::min(run_end, end) - begin;
    found.push_back(run);
  }
  co_return found;
}

Task<void> RunImage::read(std::uint64_t offset, std::span<std::byte> into) {
  for (std::uint64_t done = 0; done < into.size();) {
    const std::vector<Mapping> runs = co_await map(offset + done, into.size() - done, 1);
    const Mapping& run = runs.front();
    const std::span<std::byte> part = into.subspan(done, run.length);
    std::ranges::fill(part, std::byte{0});
    if (run.file != nullptr) co_await read_exactly(*run.file, run.file_offset, part);
    if (run.kind == MappingKind::compressed) {
      for (std::byte& byte : part) byte = ~byte;
    }
    done += part.size();
  }
}

Task<WritePlace> RunImage::prepare_write(std::uint64_t, std::uint64_t) {
  co_await check_writable();
  co_return WritePlace();
}
Task<void> RunImage::commit_write(const WritePlace&) { co_await check_writable(); }
Task<void> RunImage::write_zeroes(std::uint64_t, std::uint64_t, ZeroMode) {
  co_await check_writable();
}
Task<void> RunImage::discard(std::uint64_t, std::uint64_t) { co_await check_writable(); }
Task<void> RunImage::resize(std::uint64_t, ResizeOptions) { co_await check_writable(); }

Task<void> RunImage::close() {
  for (const auto& file : files_) {
    if (file) co_await file->close();
  }
}

Task<std::vector<Mapping>> ClusterImage::map(std::uint64_t offset, std::uint64_t length,
                                             std::size_t count_max) {
  co_await check_bounds(offset, length);
  std::vector<Mapping> found;
  for (std::uint64_t at = offset; at < offset + length && found.size() < count_max;) {
    const std::uint64_t index = at / cluster_size_;
    const std::uint64_t next = std::min((index + 1) * cluster_size_, offset + length);
    Mapping run{.offset = at, .length = next - at, .kind = MappingKind::unallocated};
    if (visible_.contains(index)) {
      const Place& place = places_.at(index);
      run.kind = MappingKind::data;
      run.file = place.file;
      run.file_offset = place.offset + at % cluster_size_;
    }
    found.push_back(run);
    at = next;
  }
  co_return found;
}

Task<WritePlace> ClusterImage::prepare_write(std::uint64_t offset, std::uint64_t length) {
  co_await check_bounds(offset, length);
  const std::uint64_t index = offset / cluster_size_;
  const auto [place, fresh] = places_.try_emplace(index);
  if (fresh) {
    const std::uint64_t number = places_.size() - 1;
    place->second = {files_[number % 2].get(), number * cluster_size_};
  }
  const WritePlace made{.file = place->second.file,
                        .file_offset = place->second.offset + offset % cluster_size_,
                        .length = std::min(length, (index + 1) * cluster_size_ - offset),
                        .guest_offset = offset};
  co_await yield();  // others allocate meanwhile
  co_return made;
}

Task<void> ClusterImage::commit_write(const WritePlace& place) {
  // A cluster in memory reads as zeroes past what was written, up to the end of its file.
  File& file = *place.file;
  const std::uint64_t end = place.file_offset - place.guest_offset % cluster_size_ + cluster_size_;
  const std::uint64_t size = co_await file.size();
  if (size < end) co_await file.truncate(end);
  visible_.insert(place.guest_offset / cluster_size_);
}

Task<void> ClusterImage::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  co_await check_bounds(offset, length);
  for (std::uint64_t at = offset; at < offset + length;) {
    const std::uint64_t index = at / cluster_size_;
    const std::uint64_t next = std::min((index + 1) * cluster_size_, offset + length);
    if (visible_.contains(index)) {
      const Place place = places_.at(index);
      co_await place.file->write_zeroes(place.offset + at % cluster_size_, next - at, mode);
    }
    at = next;
  }
}

Task<void> ClusterImage::discard(std::uint64_t offset, std::uint64_t length) {
  return write_zeroes(offset, length, ZeroMode::may_unmap);
}
Task<void> ClusterImage::resize(std::uint64_t size, ResizeOptions) {
  size_ = size;
  co_return;
}

Task<void> ClusterImage::close() {
  for (const auto& file : files_) co_await file->close();
}

}  // namespace platter::test
