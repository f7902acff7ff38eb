// A passphrase or key out of a file or standard input, as bytes.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>

#include "io/error.h"

namespace platter {

/// Bytes in memory that is locked where the limits allow, and wiped at the end. Neither copied nor
/// printed.
class KeyBytes {
 public:
  KeyBytes() noexcept = default;
  KeyBytes(KeyBytes&& other) noexcept { swap(other); }
  KeyBytes& operator=(KeyBytes&& other) noexcept {
    KeyBytes(std::move(other)).swap(*this);
    return *this;
  }
  ~KeyBytes();

  std::span<const std::byte> view() const noexcept { return {data_, size_}; }

  /// All of the file's bytes, a newline at the end too, as cryptsetup takes a key file; "-" is standard
  /// input. Blocks. Errors: not_found, permission, too_large (over 8 MiB), invalid_argument (empty).
  static Result<KeyBytes> read(const std::string& file);

 private:
  void swap(KeyBytes& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace platter
