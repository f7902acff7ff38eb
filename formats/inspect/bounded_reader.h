// What an inspection may read of a file, and integers at any place of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::inspect {

/// Bytes from a file, and integers in them. What lies past their end reads as zero, so no claim of an
/// image leads outside; whoever needs to know compares with size().
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(std::span<const std::byte> bytes) noexcept : bytes_(bytes) {}

  std::size_t size() const noexcept { return bytes_.size(); }
  std::span<const std::byte> span() const noexcept { return bytes_; }
  /// Cut where the bytes end.
  Bytes from(std::uint64_t offset, std::uint64_t length = ~std::uint64_t{0}) const noexcept;
  std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }
  bool has(std::uint64_t offset, std::string_view mark) const noexcept {
    return from(offset, mark.size()).text() == mark;
  }

  std::uint8_t u8(std::uint64_t at) const noexcept { return get<std::uint8_t>(at, false); }
  std::uint16_t le16(std::uint64_t at) const noexcept { return get<std::uint16_t>(at, false); }
  std::uint32_t le32(std::uint64_t at) const noexcept { return get<std::uint32_t>(at, false); }
  std::uint64_t le64(std::uint64_t at) const noexcept { return get<std::uint64_t>(at, false); }
  std::uint16_t be16(std::uint64_t at) const noexcept { return get<std::uint16_t>(at, true); }
  std::uint32_t be32(std::uint64_t at) const noexcept { return get<std::uint32_t>(at, true); }
  std::uint64_t be64(std::uint64_t at) const noexcept { return get<std::uint64_t>(at, true); }

 private:
  template <class Int>
  Int get(std::uint64_t at, bool big_endian) const noexcept {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Int); ++i) {
      const std::size_t place = big_endian ? i : sizeof(Int) - 1 - i;
      const std::uint64_t index = at + place;
      const bool inside = index >= at && index < bytes_.size();
      value = (value << 8) | (inside ? std::to_integer<std::uint64_t>(bytes_[index]) : 0);
    }
    return static_cast<Int>(value);
  }

  std::span<const std::byte> bytes_;
};

/// Reads within a budget. Belongs to the file's thread.
class BoundedReader {
 public:
  /// The start of the file that every detector sees: past the volume descriptors of an iso.
  static constexpr std::size_t kHeadSize = 128 * 1024;

  /// `budget` in bytes.
  BoundedReader(File& file, std::uint64_t budget, const CancelToken* cancel)
      : file_(file), budget_(budget), cancel_(cancel) {}

  /// Reads the size and the head. Once, first.
  Task<void> start();

  std::uint64_t file_size() const noexcept { return file_size_; }
  Bytes head() const noexcept { return Bytes(head_); }
  /// The bytes at a place, fewer where the file or the budget ends. Errors: io, cancelled.
  Task<std::vector<std::byte>> read(std::uint64_t offset, std::uint64_t length);

  std::uint64_t bytes_read() const noexcept { return bytes_read_; }
  /// Something was left unread for want of budget.
  bool exhausted() const noexcept { return exhausted_; }

 private:
  File& file_;
  std::uint64_t budget_;
  const CancelToken* cancel_;
  std::uint64_t file_size_ = 0;
  std::uint64_t bytes_read_ = 0;
  bool exhausted_ = false;
  std::vector<std::byte> head_;
};

}  // namespace platter::inspect
