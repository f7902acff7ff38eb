// A random-access file of bytes: what every format reads and writes.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/task.h"

namespace platter {

/// Tells whether two files are the same one, whatever their names.
struct FileId {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;  ///< for a block device: the device number, and device is 0
  bool operator==(const FileId&) const = default;
};

/// What holds for a file for as long as it is open.
struct FileTraits {
  /// Requests whose offset and length are multiples of `request_alignment` bytes, from memory
  /// aligned to `memory_alignment` bytes, need no copy. Powers of two. Others work all the same.
  std::uint32_t request_alignment = 1;
  std::uint32_t memory_alignment = 1;
  bool read_only = false;
  /// A device has a fixed size, no end-of-file tail, and unknown contents to begin with.
  bool is_block_device = false;
  /// I/O bypasses the page cache.
  bool direct = false;
  /// The data lives in memory (tmpfs): a request costs a copy, never a wait.
  bool in_memory = false;
};

class File;

/// Where a byte really is.
struct FilePlace {
  File* file = nullptr;
  std::uint64_t offset = 0;  ///< bytes
};

/// One run of a file, as the filesystem tells it.
struct Extent {
  std::uint64_t offset = 0;  ///< bytes
  std::uint64_t length = 0;  ///< bytes, > 0
  bool data = false;         ///< false: a hole, reads as zeroes
  bool operator==(const Extent&) const = default;
};

/// How write_zeroes() may reach its end.
enum class ZeroMode : std::uint8_t {
  keep_allocated,  ///< the range stays (or becomes) allocated where the file can
  may_unmap,       ///< the range may become a hole
};

/// Belongs to the thread (the RunLoop) that opened it. Any number of requests may be in flight;
/// those whose ranges overlap are unordered. Buffers belong to the caller and stay alive until the
/// await returns. All offsets and lengths are in bytes, at any alignment. close() before the end.
///
/// Errors, everywhere: io, no_space, read_only, too_large, as the kind says; each names the file
/// and the offset.
class File {
 public:
  virtual ~File() = default;
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// As whoever opened it named it; for messages.
  virtual const std::string& name() const noexcept = 0;
  virtual const FileTraits& traits() const noexcept = 0;
  /// Nothing for files that have no identity outside of this process.
  virtual std::optional<FileId> id() const noexcept { return std::nullopt; }

  /// Where the byte at `offset` is: in another file, if this one is a window onto that.
  virtual FilePlace locate(std::uint64_t offset) noexcept { return {this, offset}; }

  /// The size now.
  virtual Task<std::uint64_t> size() = 0;

  /// Reads until `into` is full or the file ends; returns the count, which is short only at the
  /// end of the file.
  virtual Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) = 0;
  /// Writes all of `data`; past the end, the file grows (a block device: no_space). Atomic only as
  /// far as the device is. After an error, any part of the range may have been written.
  virtual Task<void> write(std::uint64_t offset, std::span<const std::byte> data) = 0;

  /// The same for scattered memory. By default one request for each piece, in order.
  virtual Task<std::size_t> readv(std::uint64_t offset, std::span<const iovec> into);
  virtual Task<void> writev(std::uint64_t offset, std::span<const iovec> data);

  /// When it returns, every write that had returned before it was called survives a crash, and so
  /// does the size. After a failed flush every later one fails with the same error: what the
  /// device dropped can't be flushed again.
  virtual Task<void> flush() = 0;

  /// Makes the range read as zeroes, growing the file if it ends past its end.
  virtual Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) = 0;
  /// Says that the contents of the range are not needed: afterwards they are anything, zeroes on
  /// most files. Never grows the file; where the file can't, nothing happens.
  virtual Task<void> discard(std::uint64_t offset, std::uint64_t length) = 0;
  /// Sets the size; what is added reads as zeroes. A block device: unsupported.
  virtual Task<void> truncate(std::uint64_t size) = 0;
  /// Reserves space for the range, growing the file if it ends past its end. Contents stay.
  /// Errors: unsupported where the filesystem can't.
  virtual Task<void> allocate(std::uint64_t offset, std::uint64_t length) = 0;
  /// About how many more bytes the filesystem can hold: others take from it too, and limits on users
  /// don't show. Nothing where that is not known.
  virtual Task<std::optional<std::uint64_t>> space_left();

  /// Up to `count_max` extents from `offset` on, adjacent, alternating or not, the first starting
  /// at `offset`, the last ending at `offset + length` or earlier; empty only at or past the end of
  /// the file. What was written a moment ago may still show as a hole until flush().
  virtual Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                            std::size_t count_max) = 0;

  /// Shares `length` bytes of `source` with this file (reflink). Errors: unsupported where the two
  /// can't share: nothing has changed then.
  virtual Task<void> clone_from(File& source, std::uint64_t source_offset, std::uint64_t offset,
                                std::uint64_t length);
  /// Has the kernel copy, by the best means it has. Returns the count, short only at the source's
  /// end. Errors: unsupported where the kernel can't: nothing has changed then.
  virtual Task<std::uint64_t> copy_from(File& source, std::uint64_t source_offset,
                                        std::uint64_t offset, std::uint64_t length);

  /// Ends the use of the file: locks are given up, the descriptor is closed. Not a flush.
  /// REQUIRES: no request is in flight. Once.
  virtual Task<void> close() = 0;
};

/// Reads exactly `into.size()` bytes. Errors: file_changed where the file ends before.
Task<void> read_exactly(File& file, std::uint64_t offset, std::span<std::byte> into);

/// The total size of the pieces, in bytes.
std::size_t total_size(std::span<const iovec> pieces) noexcept;

}  // namespace platter
