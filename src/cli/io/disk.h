// An open image as the options of `platter io` want it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "formats/image.h"
#include "formats/open.h"
#include "io/async_mutex.h"
#include "io/task.h"
#include "src/cli/context.h"
#include "src/cli/io/overlay.h"

namespace platter::cli {

struct DiskOptions {
  std::string filename;  ///< or what --image-opts is about
  std::string format;    ///< empty: decided by content
  bool read_only = false;
  bool force_share = false;
  bool snapshot = false;      ///< writes go to an overlay that vanishes with the disk
  bool copy_on_read = false;  ///< what is read of a backing image is kept in the image
  bool discard = true;        ///< otherwise discards do nothing, and zeroes stay allocated
  CacheUse cache = CacheUse::buffered;
  Durability durability = Durability::on_flush;
  bool native = false;  ///< asked for what QEMU can only do past the page cache
  bool warned = false;  ///< that a format was guessed, if it was
};

/// Belongs to its ring. Any number of requests may be in flight; those that overlap are unordered.
/// close() before the end. Errors of requests: those of the Image; permission and invalid_argument
/// for what would turn an image that was only guessed to be raw into another format.
class Disk {
 public:
  /// Errors: as open_image(); invalid_argument for options that contradict each other.
  static Task<std::unique_ptr<Disk>> open(const Context& context, DiskOptions options);
  Disk(OpenedImage opened, Overlay overlay, DiskOptions options);

  const DiskOptions& options() const noexcept { return options_; }
  Image& image() noexcept { return *image_; }
  bool read_only() const noexcept { return image_->read_only(); }

  /// Errors: out_of_bounds. For a look before memory is taken.
  Result<void> check_range(std::uint64_t offset, std::uint64_t length) const;
  Task<void> read(std::uint64_t offset, std::span<std::byte> into);
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_compressed(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap);
  Task<void> discard(std::uint64_t offset, std::uint64_t length);
  Task<void> flush();
  Task<void> resize(std::uint64_t size, ResizeOptions options);

  /// Whether the image itself, not a backing one, says what is at `offset`; and for how many bytes
  /// on, at most `length`. REQUIRES: the range is not empty and within the image.
  struct Allocation {
    bool allocated = false;
    std::uint64_t length = 0;
  };
  Task<Allocation> allocation(std::uint64_t offset, std::uint64_t length);

  /// What was written is durable then. REQUIRES: no request is in flight. Once.
  Task<void> close();

 private:
  /// Nothing where requests need no turns.
  Task<std::optional<AsyncMutex::Guard>> take_turn();
  Task<void> copy_up(std::uint64_t offset, std::uint64_t length);
  Task<void> keep(std::uint64_t offset, std::uint64_t length);
  Task<void> check_first_sector(std::uint64_t offset, std::span<const std::byte> data);

  DiskOptions options_;
  Overlay overlay_;
  std::unique_ptr<Image> image_;
  bool guessed_raw_;
  bool written_ = false;
  // With copy_on_read requests take turns: data that is being copied up is never written over.
  AsyncMutex turn_;
};

}  // namespace platter::cli
