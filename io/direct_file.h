// Regular files and block devices, by io_uring, past the page cache where the filesystem allows.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "io/async_mutex.h"
#include "io/file.h"
#include "io/image_lock.h"
#include "io/path_lookup.h"
#include "io/range_lock.h"
#include "io/ring.h"
#include "io/unique_fd.h"

namespace platter {

enum class Access : std::uint8_t { read_only, read_write };

/// Whether I/O goes past the page cache.
enum class CacheUse : std::uint8_t {
  direct_if_possible,  ///< direct; through the page cache, with one notice, where the file can't
  direct,              ///< direct, or an error of kind unsupported
  buffered,            ///< through the page cache
};

/// When a write counts as done.
enum class Durability : std::uint8_t {
  on_flush,     ///< durable once flush() returned
  every_write,  ///< durable once write() returned (O_DSYNC)
  never,        ///< flush() does nothing: for data that may be lost
};

struct FileOptions {
  Access access = Access::read_only;
  CacheUse cache = CacheUse::direct_if_possible;
  Durability durability = Durability::on_flush;
  /// Locks to take; nothing: none.
  std::optional<ImageLockRequest> lock;
  /// A block device that is mounted, or that another opener claimed, is refused (in_use).
  bool exclusive_device = false;
  /// How the name is looked up. A new file is made in the folder that this gives, under the last part
  /// of its name; no link is followed there.
  PathLookup lookup = nullptr;
  /// Asked, with an O_PATH descriptor of what the name leads to, before it is opened for I/O: the
  /// same file is opened then, or none. Nothing: no questions.
  std::function<Result<void>(int path_fd)> approve;
};

/// A File on a descriptor of this process.
///
/// Direct I/O needs aligned requests. Others are bounced through aligned memory; a write that
/// covers a device block in part reads, changes and writes the whole block under a range lock that
/// keeps every other write off it. The last, partial block of a regular file can't be written
/// directly without growing the file: it goes through the page cache, is written back at once, and
/// is kept apart from direct writes by the same lock.
class DirectFile final : public File {
 public:
  /// Opens what is there. The name is opened with O_PATH and looked at first, so that nothing
  /// but a regular file or a block device is ever opened (no FIFO waits, no device reacts).
  /// Errors: not_found, permission, wrong_type, read_only, in_use, unsupported (direct).
  static Task<std::unique_ptr<DirectFile>> open(std::string name, FileOptions options);

  /// Takes over a descriptor. `name` is for messages only. The descriptor's open flags are changed
  /// to what the options ask (O_DIRECT) where that is possible.
  static Task<std::unique_ptr<DirectFile>> adopt(UniqueFd fd, std::string name,
                                                 FileOptions options);

  ~DirectFile() override;

  /// Takes more locks, for a use that became known only after opening. Errors: in_use.
  Result<void> lock(const ImageLockRequest& request);

  /// False where it was opened without locks.
  bool is_locked() const noexcept { return locked_; }

  const std::string& name() const noexcept override { return name_; }
  const FileTraits& traits() const noexcept override { return traits_; }
  std::optional<FileId> id() const noexcept override { return id_; }
  Task<std::uint64_t> size() override;
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  Task<std::size_t> readv(std::uint64_t offset, std::span<const iovec> into) override;
  Task<void> writev(std::uint64_t offset, std::span<const iovec> data) override;
  Task<void> flush() override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> truncate(std::uint64_t size) override;
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override;
  Task<std::optional<std::uint64_t>> space_left() override;
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override;
  Task<void> clone_from(File& source, std::uint64_t source_offset, std::uint64_t offset,
                        std::uint64_t length) override;
  Task<std::uint64_t> copy_from(File& source, std::uint64_t source_offset, std::uint64_t offset,
                                std::uint64_t length) override;
  Task<void> close() override;

  /// The descriptor, still owned by this file: for linkat, fstat and the like.
  int fd() const noexcept { return file_.fd; }

  /// Bytes that the file takes on its filesystem.
  Result<std::uint64_t> disk_usage() const;

 private:
  DirectFile(UniqueFd fd, std::string name, const FileOptions& options);

  Result<void> set_up(const FileOptions& options);
  bool aligned(std::uint64_t offset, const void* memory, std::size_t length) const noexcept;
  bool aligned(std::uint64_t offset, std::span<const iovec> pieces) const noexcept;
  std::uint64_t block_begin(std::uint64_t offset) const noexcept;
  std::uint64_t block_end(std::uint64_t offset) const noexcept;
  Result<std::uint64_t> size_now() const;
  Result<void> check_range(std::string_view operation, std::uint64_t offset,
                           std::uint64_t length) const;
  /// The same for what changes the file. Errors: read_only.
  Result<void> check_change(std::string_view operation, std::uint64_t offset,
                            std::uint64_t length) const;
  Result<bool> ends_in_tail(std::uint64_t end) const;
  std::unexpected<Error> error(int os_error, std::string_view operation,
                               std::optional<std::uint64_t> offset = std::nullopt) const;

  Task<std::size_t> read_aligned(std::uint64_t offset, std::span<std::byte> into);
  Task<std::size_t> read_bounced(std::uint64_t offset, std::span<std::byte> into);
  Task<void> write_aligned(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_bounced(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_blocks(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_tail(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_literal_zeroes(std::uint64_t offset, std::uint64_t length);
  Task<void> zero_range(std::uint64_t offset, std::uint64_t length, ZeroMode mode);
  Task<bool> zero_by_kernel(std::uint64_t offset, std::uint64_t length, ZeroMode mode);
  Task<bool> try_fallocate(bool& can, int mode, std::string_view operation, std::uint64_t offset,
                           std::uint64_t length);
  Task<void> grow_to(std::uint64_t size);
  Task<void> resize_to(std::uint64_t size);

  UniqueFd fd_;
  UniqueFd buffered_fd_;  // for the tail; opened when first needed
  std::string name_;
  FileTraits traits_;
  std::optional<FileId> id_;
  Ring& ring_;
  RingFile file_;
  Durability durability_;
  bool locked_ = false;
  bool can_punch_ = true;            // cleared when the file said EOPNOTSUPP
  bool can_zero_range_ = true;       // likewise
  bool can_reserve_ = true;          // likewise
  std::uint32_t device_sector_ = 1;  // of a block device, in bytes
  AsyncMutex flushing_;
  std::uint64_t flushes_ = 0;  // completed
  std::optional<Error> flush_error_;
  RangeLock writes_;
};

}  // namespace platter
