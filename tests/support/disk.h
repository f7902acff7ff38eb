// The contents of a file, as a value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "io/file.h"

namespace platter::test {

/// Bytes and a size. Sparse, and cheap to copy: copies share every chunk that neither has changed,
/// and what was folded is shared as a whole. Bytes past the size read as zeroes when it grows.
class Disk {
 public:
  static constexpr std::uint64_t kChunkSize = 4096;

  explicit Disk(std::uint64_t size = 0) : size_(size) {}

  std::uint64_t size() const noexcept { return size_; }
  void resize(std::uint64_t size);

  /// Returns the count: short at the end.
  std::size_t read(std::uint64_t offset, std::span<std::byte> into) const;
  /// Grows the disk if the range ends past its end.
  void write(std::uint64_t offset, std::span<const std::byte> data);
  /// The part of the range that lies past the end is left out.
  void zero(std::uint64_t offset, std::uint64_t length);

  /// As File::extents().
  std::vector<Extent> extents(std::uint64_t offset, std::uint64_t length,
                              std::size_t count_max) const;
  /// Everything.
  std::vector<std::byte> bytes() const;

  /// Makes copies of this disk take a time that depends only on what is changed from now on.
  void fold();

 private:
  using Chunk = std::array<std::byte, kChunkSize>;
  using Chunks = std::map<std::uint64_t, std::shared_ptr<Chunk>>;

  const Chunk* find(std::uint64_t index) const;
  Chunk& chunk_for_writing(std::uint64_t index);
  void clear_chunk(std::uint64_t index);

  std::shared_ptr<Chunks> folded_ = std::make_shared<Chunks>();  // never changed while shared
  Chunks changed_;  // since it was folded; a null pointer stands for a chunk of zeroes
  std::uint64_t size_;
};

}  // namespace platter::test
