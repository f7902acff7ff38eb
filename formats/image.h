// An open disk image: a map from guest bytes to places in files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "formats/image_info.h"
#include "io/cancel.h"
#include "io/error.h"
#include "io/file.h"
#include "io/task.h"

namespace platter {

/// Where the bytes of a guest range are.
enum class MappingKind : std::uint8_t {
  data,         ///< at `file_offset` of `file`
  zero,         ///< nowhere needed: they read as zeroes
  unallocated,  ///< in the backing image; zeroes where there is none
  compressed,   ///< only Image::read() can get at them
};

/// One run of the guest's address space. Offsets and lengths in bytes.
struct Mapping {
  std::uint64_t offset = 0;  ///< guest offset
  std::uint64_t length = 0;  ///< > 0
  MappingKind kind = MappingKind::data;
  File* file = nullptr;           ///< data, and zero runs that have a place; owned by the image
  std::uint64_t file_offset = 0;  ///< valid with `file`
  bool hole_of_data = false;      ///< zero: the image holds data here, its file a hole
  unsigned depth = 0;             ///< map_chain(): 0 is the image itself, 1 its backing image, ...
};

/// Space that prepare_write() made ready; see Image.
struct WritePlace {
  File* file = nullptr;
  std::uint64_t file_offset = 0;
  std::uint64_t length = 0;  ///< bytes that may be written there, > 0
  std::uint64_t guest_offset = 0;
};

enum class Preallocation : std::uint8_t { off, metadata, falloc, full };
/// The name as in `-o preallocation=`.
std::string_view to_string(Preallocation mode) noexcept;
/// Errors: invalid_argument.
Result<Preallocation> parse_preallocation(std::string_view name);

/// What resize() may do and how.
struct ResizeOptions {
  Preallocation preallocation = Preallocation::off;
  const CancelToken* cancel = nullptr;
};

/// Belongs to the ring that opened it. Any number of requests may be in flight; those that overlap
/// are unordered. close() before the end (CHECK), after the last request returned.
///
/// A format is a map, not an I/O path: map() tells where bytes are, prepare_write() makes a range
/// writable in place, commit_write() makes it visible. read() and write() are built on them; the
/// copy engine uses them directly and moves data from file to file.
class Image {
 public:
  virtual ~Image() = default;
  Image() = default;
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  virtual const std::string& filename() const noexcept = 0;
  virtual std::string_view format() const noexcept = 0;
  /// Bytes, a multiple of 512.
  virtual std::uint64_t virtual_size() const noexcept = 0;
  virtual bool read_only() const noexcept = 0;
  /// The file that holds the image's first byte.
  virtual File& file() noexcept = 0;
  virtual Task<ImageInfo> info() = 0;

  /// Up to `count_max` mappings from `offset` on, adjacent, ending at `offset + length` or
  /// earlier; at least one if the range is not empty and lies within the image.
  /// Errors: out_of_bounds, corrupt_image, io.
  virtual Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                         std::size_t count_max) = 0;

  /// The file that holds guest data where that is not file(); null otherwise.
  virtual File* data_file() noexcept { return nullptr; }

  /// The image that unallocated ranges are read from; null where there is none.
  virtual Image* backing() noexcept { return nullptr; }
  /// map() through the whole chain: what is unallocated here is looked up in the backing image,
  /// and so on. What no image of the chain has stays `unallocated` and reads as zeroes.
  /// `until`, an image of the chain: it is not looked into. What the layers above leave to it is
  /// `unallocated` with its depth; what they leave to nobody, because one of them is shorter, is
  /// `unallocated` with the depth of a layer above.
  Task<std::vector<Mapping>> map_chain(std::uint64_t offset, std::uint64_t length,
                                       std::size_t count_max, const Image* until = nullptr);

  /// Reads guest bytes that map() of this image called compressed, all of them.
  /// Errors: corrupt_image, io; unsupported where the format has none.
  virtual Task<void> read_compressed(std::uint64_t offset, std::span<std::byte> into);

  /// Reads exactly `into.size()` bytes at the guest's `offset`.
  /// Errors: out_of_bounds, corrupt_image, file_changed, io.
  virtual Task<void> read(std::uint64_t offset, std::span<std::byte> into);

  /// Makes up to `length` bytes at the guest's `offset` writable in place. What is then written
  /// there becomes visible with commit_write(); without it, it never does.
  /// Errors: read_only, out_of_bounds, no_space, io.
  virtual Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) = 0;
  virtual Task<void> commit_write(const WritePlace& place) = 0;
  /// Gives up a place that was prepared: either this or commit_write() follows.
  virtual Task<void> abandon_write(const WritePlace& place);
  virtual Task<void> write(std::uint64_t offset, std::span<const std::byte> data);
  /// Compresses `data`, one or more clusters at a multiple of the cluster size (the image's last
  /// one may be shorter), and writes what gets smaller in compressed form.
  /// Errors: as write(); unsupported where the format, or the image, has no such form.
  virtual Task<void> write_compressed(std::uint64_t offset, std::span<const std::byte> data);

  virtual Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) = 0;
  virtual Task<void> discard(std::uint64_t offset, std::uint64_t length) = 0;

  /// Sets the virtual size: grows with zeroes, or cuts off. On an error the size is as before.
  virtual Task<void> resize(std::uint64_t size, ResizeOptions options) = 0;

  /// As File::flush(), for everything that was committed.
  virtual Task<void> flush() = 0;
  /// Makes the file what it is to be when nobody writes to it any more: as flush(), and space that
  /// was taken ahead is given back. Once, after the last request that writes.
  virtual Task<void> finish() { return flush(); }
  virtual Task<void> close() = 0;

 protected:
  Result<void> check_bounds(std::uint64_t offset, std::uint64_t length) const;
  Result<void> check_writable() const;

 private:
  Image& layer(unsigned depth) noexcept;
};

}  // namespace platter
