// Aligned memory for direct I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "io/error.h"

namespace platter {

class BufferPool;
class Ring;

/// A piece of a BufferPool; goes back to it when destroyed. Contents are not initialised.
class [[nodiscard]] Buffer {
 public:
  Buffer() noexcept = default;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~Buffer();

  std::byte* data() const noexcept { return data_; }
  /// What was asked for, in bytes.
  std::size_t size() const noexcept { return size_; }
  std::span<std::byte> bytes() const noexcept { return {data_, size_}; }
  std::span<std::byte> first(std::size_t count) const noexcept { return bytes().first(count); }

 private:
  friend class BufferPool;
  Buffer(BufferPool& pool, std::byte* data, std::size_t size) noexcept
      : pool_(&pool), data_(data), size_(size) {}
  void swap(Buffer& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  BufferPool* pool_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Hands out buffers from slabs of 2 MiB, which the kernel can back with one huge page each.
/// Belongs to its ring's thread. The first 4 MiB are registered with the kernel (they count
/// against RLIMIT_MEMLOCK, 8 MiB for many users); where it refuses, all works unregistered.
class BufferPool {
 public:
  static constexpr std::size_t kAlignment = 4096;
  static constexpr std::size_t kSlabSize = std::size_t{2} << 20;
  static constexpr std::size_t kRegisteredSize = 2 * kSlabSize;

  explicit BufferPool(Ring& ring) noexcept : ring_(ring) {}
  /// REQUIRES: every buffer came back.
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// `size` > 0 bytes, aligned to kAlignment (a whole slab's alignment from 64 KiB on is not
  /// promised). Takes 64 KiB steps: meant for I/O, not for small objects. Errors: out_of_memory.
  Result<Buffer> acquire(std::size_t size);

  /// The index of the registered buffer that `address` lies in, or -1.
  int fixed_index(const void* address) const noexcept {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    return at - fixed_begin_ < fixed_size_ ? 0 : -1;
  }
  bool registered() const noexcept { return fixed_size_ != 0; }
  /// Bytes handed out, in whole steps; and the most there ever were.
  std::size_t in_use() const noexcept { return in_use_; }
  std::size_t peak() const noexcept { return peak_; }

  /// Gives unused slabs back to the kernel, registered ones excepted.
  void trim() noexcept;

 private:
  friend class Buffer;
  friend class Ring;
  static constexpr std::size_t kStep = std::size_t{64} << 10;
  static constexpr unsigned kStepsPerSlab = kSlabSize / kStep;  // 32: a bitmap in one word

  struct Slab {
    std::byte* memory;
    std::uint32_t used;  // one bit for each step
  };

  Result<std::byte*> acquire_steps(unsigned steps);
  Result<Buffer> acquire_large(std::size_t size);
  Result<void> add_slabs(std::size_t count);
  void release(std::byte* data, std::size_t size) noexcept;
  void release_all() noexcept;  // before the ring's engine goes
  void register_first_slabs() noexcept;
  void count(std::size_t taken) noexcept;

  Ring& ring_;
  std::vector<Slab> slabs_;
  std::uintptr_t fixed_begin_ = 0;
  std::size_t fixed_size_ = 0;
  std::size_t in_use_ = 0;
  std::size_t peak_ = 0;
};

}  // namespace platter
