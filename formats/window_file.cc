#include "formats/window_file.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter {

Task<std::unique_ptr<File>> WindowFile::make(std::unique_ptr<File> file, std::uint64_t offset,
                                             std::optional<std::uint64_t> size) {
  const std::uint64_t real = co_await file->size();
  if (offset > real) {
    co_return fail(
        ErrorKind::invalid_argument,
        fmt::format("Offset ({}) cannot be greater than size of the containing file ({})", offset,
                    real));
  }
  if (size && *size > real - offset) {
    co_return fail(
        ErrorKind::invalid_argument,
        fmt::format("The sum of offset ({}) and size ({}) has to be smaller or equal to the  "
                    "actual size of the containing file ({})",
                    offset, *size, real));
  }
  // Or it would be rounded up, to what lies behind.
  if (size && !is_aligned(*size, kSectorSize)) {
    co_return fail(ErrorKind::invalid_argument,
                   fmt::format("Specified size is not multiple of {}", kSectorSize));
  }
  co_return std::unique_ptr<File>(new WindowFile(std::move(file), offset, size));
}

WindowFile::WindowFile(std::unique_ptr<File> file, std::uint64_t offset,
                       std::optional<std::uint64_t> size)
    : file_(std::move(file)), offset_(offset), size_(size), traits_(file_->traits()) {}

Result<void> WindowFile::check_place(std::uint64_t offset, std::uint64_t length) const {
  const std::uint64_t max = size_.value_or(kMaxFileSize - offset_);
  if (in_bounds(offset, length, max)) return {};
  return fail(size_ ? ErrorKind::no_space : ErrorKind::too_large,
              fmt::format("'{}': {} bytes at offset {} lie outside of the part of {} bytes that is "
                          "used",
                          name(), length, offset, max));
}

Task<std::uint64_t> WindowFile::size() {
  const std::uint64_t real = co_await file_->size();
  const std::uint64_t left = real - std::min(real, offset_);
  co_return size_ ? std::min(left, *size_) : left;
}

Task<std::size_t> WindowFile::read(std::uint64_t offset, std::span<std::byte> into) {
  const std::uint64_t max = size_.value_or(kMaxFileSize - offset_);
  if (offset >= max) co_return std::size_t{0};
  const std::size_t length = std::min<std::uint64_t>(into.size(), max - offset);
  co_return co_await file_->read(offset_ + offset, into.first(length));
}

Task<void> WindowFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_place(offset, data.size());
  co_await file_->write(offset_ + offset, data);
}

Task<void> WindowFile::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  co_await check_place(offset, length);
  co_await file_->write_zeroes(offset_ + offset, length, mode);
}

Task<void> WindowFile::discard(std::uint64_t offset, std::uint64_t length) {
  co_await check_place(offset, length);
  co_await file_->discard(offset_ + offset, length);
}

Task<void> WindowFile::truncate(std::uint64_t size) {
  if (size_) co_await fail(ErrorKind::unsupported, "Cannot resize fixed-size raw disks");
  co_await check_place(size, 0);
  co_await file_->truncate(offset_ + size);
}

Task<void> WindowFile::allocate(std::uint64_t offset, std::uint64_t length) {
  co_await check_place(offset, length);
  co_await file_->allocate(offset_ + offset, length);
}

Task<std::vector<Extent>> WindowFile::extents(std::uint64_t offset, std::uint64_t length,
                                              std::size_t count_max) {
  const std::uint64_t max = size_.value_or(kMaxFileSize - offset_);
  if (offset >= max) co_return std::vector<Extent>();
  std::vector<Extent> extents =
      co_await file_->extents(offset_ + offset, std::min(length, max - offset), count_max);
  for (Extent& extent : extents) extent.offset -= offset_;
  co_return extents;
}

}  // namespace platter
