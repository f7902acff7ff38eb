// The raw format: guest byte n is byte n of the file.
#pragma once

#include <memory>
#include <string>

#include "formats/image.h"

namespace platter {

/// A file whose size is no multiple of 512 bytes is seen as if it ended with zeroes up to the next
/// one; writing there makes the file that long.
class RawImage final : public Image {
 public:
  /// `format`: what it is called, outlives it.
  static Task<std::unique_ptr<RawImage>> open(std::unique_ptr<File> file, std::string filename,
                                              std::string_view format = "raw");

  const std::string& filename() const noexcept override { return filename_; }
  std::string_view format() const noexcept override { return format_; }
  std::uint64_t virtual_size() const noexcept override { return virtual_size_; }
  bool read_only() const noexcept override { return file_->traits().read_only; }
  File& file() noexcept override { return *file_; }
  Task<ImageInfo> info() override;

  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override;
  /// What is written is visible at once: one request, without preparation.
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) override;
  Task<void> commit_write(const WritePlace& place) override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> resize(std::uint64_t size, ResizeOptions options) override;
  Task<void> flush() override;
  Task<void> close() override;

 private:
  RawImage(std::unique_ptr<File> file, std::string filename, std::string_view format,
           std::uint64_t file_size);

  std::unique_ptr<File> file_;
  std::string filename_;
  std::string_view format_;
  std::uint64_t file_size_;  // when opened or resized: less means that someone cut it
  std::uint64_t virtual_size_;
};

}  // namespace platter
