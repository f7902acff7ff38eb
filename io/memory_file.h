// A file in memory: for tests, benchmarks and embedding.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/file.h"

namespace platter {

/// Sparse: only 64 KiB chunks that were written take memory. Every request finishes at once.
/// Any thread, one at a time; needs no Ring.
class MemoryFile final : public File {
 public:
  explicit MemoryFile(std::string name = "memory", std::uint64_t size = 0);

  const std::string& name() const noexcept override { return name_; }
  const FileTraits& traits() const noexcept override { return traits_; }
  Task<std::uint64_t> size() override;
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<void> flush() override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> truncate(std::uint64_t size) override;
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override;
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override;
  Task<void> close() override;

  /// Bytes of memory that hold data.
  std::uint64_t allocated() const noexcept { return chunks_.size() * kChunkSize; }

  static constexpr std::uint64_t kChunkSize = 64 * 1024;

 private:
  using Chunk = std::unique_ptr<std::byte[]>;

  Result<void> check_range(std::uint64_t offset, std::uint64_t length) const;
  std::byte* chunk_for_writing(std::uint64_t index);
  void fill_with_zeroes(std::uint64_t begin, std::uint64_t end);
  void unmap(std::uint64_t begin, std::uint64_t end);

  std::string name_;
  FileTraits traits_{.in_memory = true};
  std::uint64_t size_;
  std::map<std::uint64_t, Chunk> chunks_;  // by index; absent ones read as zeroes
};

}  // namespace platter
