// What an image that can't be written to answers.
#pragma once

#include "formats/image.h"

namespace platter {

/// Refuses everything that would change it (read_only).
class ReadOnlyImage : public Image {
 public:
  bool read_only() const noexcept final { return true; }
  Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) final;
  Task<void> commit_write(const WritePlace& place) final;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) final;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) final;
  Task<void> resize(std::uint64_t size, ResizeOptions options) final;
  /// There is nothing to make durable.
  Task<void> flush() final;
};

}  // namespace platter
