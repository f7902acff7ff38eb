// Images as formats to come will have them: runs of every kind, in several files, in any order.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "formats/image.h"
#include "io/memory_file.h"

namespace platter::test {

/// A file in memory that holds `bytes`.
std::unique_ptr<MemoryFile> memory_file(std::vector<std::byte> bytes, std::string name = "memory");

/// Everything that a guest would see.
Task<std::vector<std::byte>> guest_bytes(Image& image);

/// Read-only, put together run by run, at any byte. Two files; what is compressed lies inverted in
/// the first one.
class RunImage final : public Image {
 public:
  explicit RunImage(std::unique_ptr<File> first, std::unique_ptr<File> second = nullptr)
      : files_{std::move(first), std::move(second)} {}

  /// Adds a run at the end.
  void add(MappingKind kind, std::uint64_t length, std::size_t file = 0,
           std::uint64_t file_offset = 0);
  /// map() gives at most so many at once, whatever is asked for.
  void set_batch(std::size_t count) { batch_ = count; }
  std::uint64_t maps() const noexcept { return maps_; }

  const std::string& filename() const noexcept override { return filename_; }
  std::string_view format() const noexcept override { return "runs"; }
  std::uint64_t virtual_size() const noexcept override { return size_; }
  bool read_only() const noexcept override { return true; }
  File& file() noexcept override { return *files_[0]; }
  Task<ImageInfo> info() override { co_return ImageInfo{}; }
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) override;
  Task<void> commit_write(const WritePlace& place) override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> resize(std::uint64_t size, ResizeOptions options) override;
  Task<void> flush() override { co_return; }
  Task<void> close() override;

 private:
  std::unique_ptr<File> files_[2];
  std::vector<Mapping> runs_;
  std::string filename_ = "runs";
  std::uint64_t size_ = 0;
  std::size_t batch_ = SIZE_MAX;
  std::uint64_t maps_ = 0;
};

/// Writable, of clusters that are allocated when first written, in two files by turns. What was
/// written without commit_write() is not to be seen.
class ClusterImage final : public Image {
 public:
  /// REQUIRES: both files read as zeroes and are as long as all clusters together.
  ClusterImage(std::unique_ptr<File> first, std::unique_ptr<File> second, std::uint64_t size,
               std::uint64_t cluster_size)
      : files_{std::move(first), std::move(second)}, size_(size), cluster_size_(cluster_size) {}

  std::size_t clusters() const noexcept { return visible_.size(); }

  const std::string& filename() const noexcept override { return filename_; }
  std::string_view format() const noexcept override { return "clusters"; }
  std::uint64_t virtual_size() const noexcept override { return size_; }
  bool read_only() const noexcept override { return false; }
  File& file() noexcept override { return *files_[0]; }
  Task<ImageInfo> info() override { co_return ImageInfo{}; }
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) override;
  Task<void> commit_write(const WritePlace& place) override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> resize(std::uint64_t size, ResizeOptions options) override;
  Task<void> flush() override { co_return; }
  Task<void> close() override;

 private:
  struct Place {
    File* file = nullptr;
    std::uint64_t offset = 0;
  };

  std::unique_ptr<File> files_[2];
  std::string filename_ = "clusters";
  std::uint64_t size_;
  std::uint64_t cluster_size_;
  std::map<std::uint64_t, Place> places_;  // by cluster index
  std::set<std::uint64_t> visible_;
};

}  // namespace platter::test
