// Which parts of a disk were written to: a dirty bitmap in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

#include "io/bytes.h"
#include "io/error.h"

namespace platter::qcow2 {

/// A run of guest bytes.
struct DirtyRange {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool operator==(const DirtyRange&) const = default;
};

/// One bit for each `granularity` guest bytes; the last one may stand for less. In memory as on disk
/// (section "Bitmap data"): bit n is bit n % 8 of byte n / 8. One thread.
class DirtyBits {
 public:
  static constexpr unsigned kGranularityBitsMin = 9;
  static constexpr unsigned kGranularityBitsMax = 31;

  /// All clean. `size` in guest bytes. Errors: out_of_memory.
  static Result<DirtyBits> make(std::uint64_t size, unsigned granularity_bits);
  Result<DirtyBits> clone() const;

  std::uint64_t size() const noexcept { return size_; }  ///< guest bytes
  unsigned granularity_bits() const noexcept { return granularity_bits_; }
  std::uint64_t granularity() const noexcept { return std::uint64_t{1} << granularity_bits_; }
  /// How many bytes hold the bits of a disk of `size` bytes.
  static std::uint64_t byte_count(std::uint64_t size, unsigned granularity_bits) noexcept;
  std::uint64_t byte_count() const noexcept { return byte_count(size_, granularity_bits_); }

  /// Everything that the range touches is dirty from now on. REQUIRES: it lies within the disk.
  void mark(std::uint64_t offset, std::uint64_t length) noexcept;
  void clear() noexcept;
  /// Marks what is dirty in the other one, of any granularity. REQUIRES: a disk of the same size.
  void merge(const DirtyBits& other) noexcept;

  /// The first dirty run that ends behind `offset`, from `offset` on; nothing where all is clean.
  std::optional<DirtyRange> next_dirty(std::uint64_t offset) const noexcept;
  std::uint64_t dirty_bytes() const noexcept;

  /// Whether a bit may have changed since the last call of unchanged().
  bool changed() const noexcept { return changed_; }
  void unchanged() noexcept { changed_ = false; }

  /// Takes memory for a disk of this size. Errors: out_of_memory: nothing has changed then.
  Result<void> reserve(std::uint64_t size);
  /// What is cut off is forgotten, what is added is clean. REQUIRES: reserve(size).
  void resize(std::uint64_t size) noexcept;

  /// As on disk; bits behind the last one are 0.
  std::span<const std::byte> bytes() const noexcept { return {data_.get(), byte_count()}; }
  enum class Kind : std::uint8_t { zeroes, ones, mixed };
  /// What the `count` bytes from `at` on, or those of them that hold bits, are. REQUIRES: one does.
  Kind kind_of(std::uint64_t at, std::uint64_t count) const noexcept;
  /// Puts bits as they are on disk from byte `at` on. What lies behind the last bit is left out.
  void load(std::uint64_t at, std::span<const std::byte> bytes) noexcept;
  /// The same for `count` bytes of ones.
  void load_ones(std::uint64_t at, std::uint64_t count) noexcept;

 private:
  struct Free {
    void operator()(std::byte* data) const noexcept { std::free(data); }
  };
  DirtyBits() = default;
  std::uint64_t bit_count() const noexcept { return bit_count(size_, granularity_bits_); }
  static std::uint64_t bit_count(std::uint64_t size, unsigned granularity_bits) noexcept {
    return (size >> granularity_bits) +
           (is_aligned(size, std::uint64_t{1} << granularity_bits) ? 0 : 1);
  }
  void mark_bits(std::uint64_t first, std::uint64_t last) noexcept;
  void add_to(std::uint64_t byte, unsigned mask) noexcept;
  void clear_tail() noexcept;
  std::uint64_t find_bit(std::uint64_t from, bool set) const noexcept;

  std::uint64_t size_ = 0;
  unsigned granularity_bits_ = 16;
  std::uint64_t capacity_ = 0;  // bytes; those behind byte_count() are 0
  // From calloc(): what was never touched takes no memory.
  std::unique_ptr<std::byte, Free> data_;
  bool changed_ = false;
};

}  // namespace platter::qcow2
