// Several images seen as one, one after the other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "formats/read_only_image.h"

namespace platter {

/// Read-only. Owns its parts; closes them.
class ConcatImage final : public ReadOnlyImage {
 public:
  /// REQUIRES: at least one part. Errors: too_large.
  static Result<std::unique_ptr<Image>> make(std::vector<std::unique_ptr<Image>> parts);

  const std::string& filename() const noexcept override { return parts_.front()->filename(); }
  std::string_view format() const noexcept override { return parts_.front()->format(); }
  std::uint64_t virtual_size() const noexcept override { return ends_.back(); }
  File& file() noexcept override { return parts_.front()->file(); }
  Task<ImageInfo> info() override;
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> close() override;

 private:
  explicit ConcatImage(std::vector<std::unique_ptr<Image>> parts);
  std::size_t part_at(std::uint64_t offset) const noexcept;
  std::uint64_t begin_of(std::size_t part) const noexcept {
    return part == 0 ? 0 : ends_[part - 1];
  }

  std::vector<std::unique_ptr<Image>> parts_;
  std::vector<std::uint64_t> ends_;  // guest offset behind each part
};

}  // namespace platter
