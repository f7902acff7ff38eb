// Passphrases and keys in memory.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "io/error.h"

namespace platter {

/// Bytes that are in no core dump, in no child process and in no swap file (as far as the limit of
/// locked memory allows), and that are wiped at the end. Neither copied by accident nor printed nor
/// compared in a time that tells of them. Belongs to one thread at a time.
///
/// The mapping is a memfd_secret, where the kernel has it: not even a debugger reads that; otherwise a
/// memfd. LVM, which unlocks the mappings of its process, leaves both alone (crypto/lvm_session.h).
class Secret {
 public:
  /// No bytes.
  Secret() noexcept = default;
  /// `size` zero bytes, to be written through writable(). Errors: out_of_memory.
  static Result<Secret> make(std::size_t size);
  /// The caller wipes `bytes`. Errors: out_of_memory.
  static Result<Secret> copy_of(std::span<const std::byte> bytes);

  Secret(Secret&& other) noexcept { swap(other); }
  Secret& operator=(Secret&& other) noexcept {
    Secret(std::move(other)).swap(*this);
    return *this;
  }
  ~Secret();

  std::span<const std::byte> view() const noexcept { return {data_, size_}; }
  std::span<std::byte> writable() noexcept { return {data_, size_}; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }

  /// Keeps the first bytes, wipes the others. REQUIRES: size <= size().
  void shrink(std::size_t size) noexcept;
  /// In a time that depends on the sizes alone.
  bool equals(std::span<const std::byte> bytes) const noexcept;

 private:
  void swap(Secret& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(mapped_, other.mapped_);
  }
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_ = 0;  // whole pages
};

}  // namespace platter
