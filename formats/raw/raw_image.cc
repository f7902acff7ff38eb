#include "formats/raw/raw_image.h"

#include <algorithm>
#include <cstring>

#include "formats/raw/raw_create.h"
#include "io/bytes.h"
#include "io/direct_file.h"

namespace platter {

RawImage::RawImage(std::unique_ptr<File> file, std::string filename, std::string_view format,
                   std::uint64_t file_size)
    : file_(std::move(file)),
      filename_(std::move(filename)),
      format_(format),
      file_size_(file_size),
      virtual_size_(align_up(file_size, kSectorSize)) {}

Task<std::unique_ptr<RawImage>> RawImage::open(std::unique_ptr<File> file, std::string filename,
                                               std::string_view format) {
  const std::uint64_t size = co_await file->size();
  if (size > align_down(kMaxFileSize, kSectorSize)) {
    co_return fail(ErrorKind::too_large, "'" + filename + "' is larger than any image can be");
  }
  co_return std::unique_ptr<RawImage>(
      new RawImage(std::move(file), std::move(filename), format, size));
}

Task<ImageInfo> RawImage::info() {
  ImageInfo info;
  info.filename = filename_;
  info.format = format();
  info.virtual_size = virtual_size_;
  if (const auto* file = dynamic_cast<const DirectFile*>(file_->locate(0).file)) {
    info.actual_size = co_await file->disk_usage();
  }
  co_return info;
}

Task<std::vector<Mapping>> RawImage::map(std::uint64_t offset, std::uint64_t length,
                                         std::size_t count_max) {
  co_await check_bounds(offset, length);
  std::vector<Mapping> mappings;
  const std::vector<Extent> extents = co_await file_->extents(offset, length, count_max);
  mappings.reserve(extents.size() + 1);
  std::uint64_t end = offset;
  for (const Extent& extent : extents) {
    const FilePlace place = file_->locate(extent.offset);
    mappings.push_back({.offset = extent.offset,
                        .length = extent.length,
                        .kind = extent.data ? MappingKind::data : MappingKind::zero,
                        .file = place.file,
                        .file_offset = place.offset});
    end = extent.offset + extent.length;
  }
  // Nothing more in the file: the rest is the padding of its last sector, or the file was cut.
  if (end < offset + length && end >= file_size_ && mappings.size() < count_max) {
    const FilePlace place = file_->locate(end);
    mappings.push_back({.offset = end,
                        .length = offset + length - end,
                        .kind = MappingKind::zero,
                        .file = place.file,
                        .file_offset = place.offset});
  }
  if (mappings.empty() && length > 0) {
    co_return fail(ErrorKind::file_changed, "'" + filename_ + "' was cut to less than " +
                                                std::to_string(offset) + " bytes while in use");
  }
  co_return mappings;
}

Task<void> RawImage::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_bounds(offset, into.size());
  const std::size_t count = co_await file_->read(offset, into);
  if (count == into.size()) co_return;
  if (offset + count < file_size_) {
    co_await fail(
        ErrorKind::file_changed,
        "'" + filename_ + "' was cut to " + std::to_string(offset + count) + " bytes while in use");
  }
  std::memset(into.data() + count, 0, into.size() - count);
}

Task<void> RawImage::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_writable();
  co_await check_bounds(offset, data.size());
  co_await file_->write(offset, data);
}

Task<WritePlace> RawImage::prepare_write(std::uint64_t offset, std::uint64_t length) {
  co_await check_writable();
  co_await check_bounds(offset, length);
  co_return WritePlace{
      .file = file_.get(), .file_offset = offset, .length = length, .guest_offset = offset};
}

Task<void> RawImage::commit_write(const WritePlace& /*place*/) { co_return; }

Task<void> RawImage::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  co_await check_writable();
  co_await check_bounds(offset, length);
  co_await file_->write_zeroes(offset, length, mode);
}

Task<void> RawImage::discard(std::uint64_t offset, std::uint64_t length) {
  co_await check_writable();
  co_await check_bounds(offset, length);
  co_await file_->discard(offset, length);
}

Task<void> RawImage::resize(std::uint64_t size, ResizeOptions options) {
  co_await check_writable();
  if (size > align_down(kMaxFileSize, kSectorSize)) {
    co_await fail(ErrorKind::too_large, "'" + filename_ + "': " + std::to_string(size) +
                                            " bytes are more than any image can have");
  }
  const std::uint64_t before = co_await file_->size();
  co_await resize_raw(*file_, before, size, options);
  file_size_ = size;
  virtual_size_ = align_up(size, kSectorSize);
}

Task<void> RawImage::flush() { return file_->flush(); }
Task<void> RawImage::close() { return file_->close(); }

}  // namespace platter
