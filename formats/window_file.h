// A part of a file, seen as a file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "io/file.h"

namespace platter {

/// Byte n is byte `offset` + n of the file below. Owns that; closes it. With a size it is as large for
/// ever, like a device; without one it ends, and grows, with the file.
class WindowFile final : public File {
 public:
  /// Errors: invalid_argument (the file is too small; the size is no multiple of 512), in QEMU's
  /// words.
  static Task<std::unique_ptr<File>> make(std::unique_ptr<File> file, std::uint64_t offset,
                                          std::optional<std::uint64_t> size);

  const std::string& name() const noexcept override { return file_->name(); }
  const FileTraits& traits() const noexcept override { return traits_; }
  std::optional<FileId> id() const noexcept override { return file_->id(); }
  FilePlace locate(std::uint64_t offset) noexcept override {
    return file_->locate(offset_ + offset);
  }
  Task<std::uint64_t> size() override;
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<void> flush() override { return file_->flush(); }
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> truncate(std::uint64_t size) override;
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override;
  Task<std::optional<std::uint64_t>> space_left() override { return file_->space_left(); }
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override;
  Task<void> close() override { return file_->close(); }

 private:
  WindowFile(std::unique_ptr<File> file, std::uint64_t offset, std::optional<std::uint64_t> size);
  Result<void> check_place(std::uint64_t offset, std::uint64_t length) const;

  std::unique_ptr<File> file_;
  std::uint64_t offset_;
  std::optional<std::uint64_t> size_;
  FileTraits traits_;
};

}  // namespace platter
