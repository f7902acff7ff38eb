// A file that stays open when its user closes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/file.h"

namespace platter::test {

/// A file whose contents outlive it.
class SharedFile : public File {
 public:
  explicit SharedFile(File& file) : file_(file) {}
  const std::string& name() const noexcept override { return file_.name(); }
  const FileTraits& traits() const noexcept override { return file_.traits(); }
  Task<std::uint64_t> size() override { return file_.size(); }
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override {
    return file_.read(offset, into);
  }
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override {
    return file_.write(offset, data);
  }
  Task<std::size_t> readv(std::uint64_t offset, std::span<const iovec> into) override {
    return file_.readv(offset, into);
  }
  Task<void> writev(std::uint64_t offset, std::span<const iovec> data) override {
    return file_.writev(offset, data);
  }
  Task<void> flush() override { return file_.flush(); }
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override {
    return file_.write_zeroes(offset, length, mode);
  }
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override {
    return file_.discard(offset, length);
  }
  Task<void> truncate(std::uint64_t size) override { return file_.truncate(size); }
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override {
    return file_.allocate(offset, length);
  }
  Task<std::optional<std::uint64_t>> space_left() override { return file_.space_left(); }
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override {
    return file_.extents(offset, length, count_max);
  }
  Task<void> close() override { co_return; }

 private:
  File& file_;
};

}  // namespace platter::test
