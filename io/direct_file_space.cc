// DirectFile: zeroes, discards, sizes, extents, and copies that the filesystem makes.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/direct_io.h"

namespace platter {
namespace {

struct ExtentScan {
  std::vector<Extent> extents;
  int os_error = 0;
};

// lseek() tells the runs of a file one by one; a whole batch is worth one trip to a worker.
ExtentScan scan_extents(int fd, std::uint64_t offset, std::uint64_t end, std::size_t count_max) {
  ExtentScan scan;
  while (offset < end && scan.extents.size() < count_max) {
    const off_t data = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
    if (data < 0 && errno == ENXIO) {  // a hole up to the end of the file
      scan.extents.push_back({offset, end - offset, false});
      return scan;
    }
    if (data < 0 && errno == EINVAL) {  // the filesystem can't tell
      scan.extents.push_back({offset, end - offset, true});
      return scan;
    }
    if (data < 0) {
      scan.os_error = errno;
      return scan;
    }
    const auto data_at = static_cast<std::uint64_t>(data);
    if (data_at > offset) {
      const std::uint64_t hole_end = std::min(data_at, end);
      scan.extents.push_back({offset, hole_end - offset, false});
      offset = hole_end;
      continue;
    }
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0 && errno != ENXIO) {
      scan.os_error = errno;
      return scan;
    }
    // ENXIO, or nothing gained: the file was cut meanwhile; the next round sees it.
    const std::uint64_t data_end =
        hole <= data ? end : std::min(static_cast<std::uint64_t>(hole), end);
    scan.extents.push_back({offset, data_end - offset, true});
    offset = data_end;
  }
  return scan;
}

// A longer copy would keep the loop from its signals.
constexpr std::uint64_t kCopyOnTheSpotMax = 1 * kMiB;

struct KernelCopy {
  std::uint64_t count = 0;
  int os_error = 0;
};

// Blocks. Short only at the source's end, or with an error.
KernelCopy copy_in_kernel(int source_fd, std::uint64_t source_offset, int fd, std::uint64_t offset,
                          std::uint64_t length) {
  KernelCopy result;
  auto in = static_cast<off_t>(source_offset);
  auto out = static_cast<off_t>(offset);
  while (result.count < length) {
    const ssize_t count = ::copy_file_range(source_fd, &in, fd, &out, length - result.count, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) result.os_error = errno;
    if (count <= 0) break;
    result.count += static_cast<std::uint64_t>(count);
  }
  return result;
}

}  // namespace

// True if it is done; false if the file can't do that, which `can` remembers.
Task<bool> DirectFile::try_fallocate(bool& can, int mode, std::string_view operation,
                                     std::uint64_t offset, std::uint64_t length) {
  if (!can) co_return false;
  int result = 0;
  do {
    result = co_await ring_.fallocate(file_, mode, offset, length);
  } while (result == -EINTR);
  if (result == 0) co_return true;
  if (result == -EINVAL) co_return false;
  can = result != -EOPNOTSUPP && result != -ENOSYS && result != -ENODEV;
  if (!can) co_return false;
  co_return error(-result, operation, offset);
}

Task<void> DirectFile::grow_to(std::uint64_t size) {
  const std::uint64_t now = co_await size_now();
  if (size <= now) co_return;
  // A write further out that grows the file at the same time must not be cut off.
  RangeLock::Guard guard(writes_, now, to_infinity(now), /*exclusive=*/true);
  co_await guard.acquired();
  if (size > co_await size_now()) co_await resize_to(size);
}

Task<void> DirectFile::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  co_await check_change("write zeroes to", offset, length);
  if (length == 0) co_return;
  const std::uint64_t file_size = co_await size_now();
  const std::uint64_t end = offset + length;
  if (traits_.is_block_device) {
    if (end > file_size) co_await error(ENOSPC, "write zeroes to", offset);
    // Only whole sectors can be handed to the device.
    const std::uint64_t begin_whole = std::min(align_up(offset, device_sector_), end);
    const std::uint64_t end_whole = std::max(align_down(end, device_sector_), begin_whole);
    co_await write_literal_zeroes(offset, begin_whole - offset);
    co_await zero_range(begin_whole, end_whole - begin_whole, mode);
    co_await write_literal_zeroes(end_whole, end - end_whole);
    co_return;
  }
  const std::uint64_t inside = std::min(end, std::max(file_size, offset)) - offset;
  co_await zero_range(offset, inside, mode);
  if (inside == length) co_return;
  co_await grow_to(end);
  if (mode == ZeroMode::keep_allocated) {
    // Best effort: a filesystem that can't reserve space still reads zeroes here.
    (void)co_await allocate(offset + inside, length - inside).result();
  }
}

// Within the file.
Task<void> DirectFile::zero_range(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  if (length == 0) co_return;
  bool done = false;
  {
    RangeLock::Guard guard(writes_, offset, length, /*exclusive=*/false);
    co_await guard.acquired();
    done = co_await zero_by_kernel(offset, length, mode);
  }
  // Each write takes the lock by itself: to hold it here would be a deadlock.
  if (!done) co_await write_literal_zeroes(offset, length);
}

// Block devices: whole sectors; PUNCH_HOLE is a write-zeroes command that may unmap, ZERO_RANGE one
// that does not, or literal zeroes by the kernel (BLKZEROOUT).
Task<bool> DirectFile::zero_by_kernel(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  constexpr std::string_view kOperation = "write zeroes to";
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  constexpr int kZero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  if (mode == ZeroMode::may_unmap &&
      co_await try_fallocate(can_punch_, kPunch, kOperation, offset, length)) {
    co_return true;
  }
  if (co_await try_fallocate(can_zero_range_, kZero, kOperation, offset, length)) co_return true;
  if (traits_.is_block_device || mode == ZeroMode::may_unmap) co_return false;
  // tmpfs: a hole, made into reserved space again where the file can.
  if (!co_await try_fallocate(can_punch_, kPunch, kOperation, offset, length)) co_return false;
  co_await try_fallocate(can_reserve_, 0, kOperation, offset, length);
  co_return true;
}

Task<void> DirectFile::write_literal_zeroes(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) co_return;
  Buffer zeroes = co_await ring_.buffers().acquire(std::min(length, kBounceSize));
  std::memset(zeroes.data(), 0, zeroes.size());
  for (std::uint64_t done = 0; done < length;) {
    const std::size_t piece = std::min<std::uint64_t>(length - done, zeroes.size());
    co_await write(offset + done, zeroes.first(piece));
    done += piece;
  }
}

Task<void> DirectFile::discard(std::uint64_t offset, std::uint64_t length) {
  co_await check_change("discard", std::min(offset, kMaxFileSize), 0);
  const std::uint64_t file_size = co_await size_now();
  if (offset >= file_size) co_return;
  length = std::min(length, file_size - offset);
  if (length == 0) co_return;
  if (!traits_.is_block_device) {
    RangeLock::Guard guard(writes_, offset, length, /*exclusive=*/false);
    co_await guard.acquired();
    constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    (void)co_await try_fallocate(can_punch_, kPunch, "discard", offset, length);
    co_return;
  }
  const std::uint64_t begin = align_up(offset, device_sector_);
  const std::uint64_t end = align_down(offset + length, device_sector_);
  if (begin >= end) co_return;
  RangeLock::Guard guard(writes_, begin, end - begin, /*exclusive=*/false);
  co_await guard.acquired();
  const int fd = file_.fd;
  const int os_error = co_await ring_.offload([fd, begin, end] {
    std::uint64_t range[2] = {begin, end - begin};
    return ::ioctl(fd, BLKDISCARD, range) == 0 ? 0 : errno;
  });
  if (os_error != 0 && os_error != EOPNOTSUPP) co_await error(os_error, "discard", offset);
}

Task<void> DirectFile::truncate(std::uint64_t size) {
  co_await check_change("resize", size, 0);
  if (traits_.is_block_device) {
    co_await fail(ErrorKind::unsupported, "'" + name_ + "' is a block device: its size is fixed");
  }
  // A read-modify-write of the block that is cut must not bring back what is cut off.
  const std::uint64_t begin = block_begin(size);
  RangeLock::Guard guard(writes_, begin, to_infinity(begin), /*exclusive=*/true);
  co_await guard.acquired();
  co_await resize_to(size);
}

// Under an exclusive lock on all that lies past the smaller one of the two sizes.
Task<void> DirectFile::resize_to(std::uint64_t size) {
  const int fd = file_.fd;
  const int os_error = co_await ring_.offload([fd, size] {
    int result = 0;
    do {
      result = ::ftruncate(fd, static_cast<off_t>(size));
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
  });
  if (os_error != 0) co_await error(os_error, "resize");
}

Task<void> DirectFile::allocate(std::uint64_t offset, std::uint64_t length) {
  co_await check_change("allocate space for", offset, length);
  if (length == 0) co_return;
  RangeLock::Guard guard(writes_, offset, length, /*exclusive=*/false);
  co_await guard.acquired();
  int result = 0;
  do {
    result = co_await ring_.fallocate(file_, 0, offset, length);
  } while (result == -EINTR);
  if (result < 0) co_await error(-result, "allocate space for", offset);
}

Task<std::optional<std::uint64_t>> DirectFile::space_left() {
  if (traits_.is_block_device) co_return std::nullopt;
  struct statvfs status{};
  const int fd = file_.fd;
  const int result = co_await ring_.offload([fd, &status] { return ::fstatvfs(fd, &status); });
  if (result != 0) co_return std::nullopt;
  co_return std::uint64_t{status.f_bavail} * status.f_frsize;
}

Task<std::vector<Extent>> DirectFile::extents(std::uint64_t offset, std::uint64_t length,
                                              std::size_t count_max) {
  co_await check_range("map", offset, 0);
  const std::uint64_t file_size = co_await size_now();
  if (offset >= file_size || length == 0) co_return std::vector<Extent>();
  const std::uint64_t end = offset + std::min(length, file_size - offset);
  if (traits_.is_block_device) {
    co_return std::vector<Extent>{Extent{offset, end - offset, true}};
  }
  const int fd = file_.fd;
  ExtentScan scan = co_await ring_.offload(
      [fd, offset, end, count_max] { return scan_extents(fd, offset, end, count_max); });
  if (scan.os_error != 0) co_return error(scan.os_error, "map", offset);
  co_return std::move(scan.extents);
}

Task<void> DirectFile::clone_from(File& source, std::uint64_t source_offset, std::uint64_t offset,
                                  std::uint64_t length) {
  auto* from = dynamic_cast<DirectFile*>(&source);
  if (from == nullptr) co_await File::clone_from(source, source_offset, offset, length);
  co_await check_change("share blocks with", offset, length);
  co_await from->check_range("share blocks of", source_offset, length);
  if (length == 0) co_return;  // to the kernel it means: up to the end
  file_clone_range range{};
  range.src_fd = from->file_.fd;
  range.src_offset = source_offset;
  range.src_length = length;
  range.dest_offset = offset;
  RangeLock::Guard guard(writes_, offset, length, /*exclusive=*/false);
  co_await guard.acquired();
  const int fd = file_.fd;
  const int os_error = co_await ring_.offload(
      [fd, &range] { return ::ioctl(fd, FICLONERANGE, &range) == 0 ? 0 : errno; });
  switch (os_error) {
    case 0: co_return;
    case EOPNOTSUPP:
    case EXDEV:
    case EINVAL:  // e.g. a range that is not in whole filesystem blocks
    case ENOTTY:
    case ETXTBSY:
    case EPERM: co_await File::clone_from(source, source_offset, offset, length); break;
    default: co_await error(os_error, "share blocks with", offset);
  }
}

Task<std::uint64_t> DirectFile::copy_from(File& source, std::uint64_t source_offset,
                                          std::uint64_t offset, std::uint64_t length) {
  auto* from = dynamic_cast<DirectFile*>(&source);
  if (from == nullptr) {
    co_return co_await File::copy_from(source, source_offset, offset, length);
  }
  co_await check_change("copy to", offset, length);
  co_await from->check_range("copy from", source_offset, length);
  if (length == 0) co_return std::uint64_t{0};
  // Where the two share no blocks the kernel reads and writes, and direct requests must be aligned.
  const std::uint32_t alignment =
      std::max(traits_.request_alignment, from->traits_.request_alignment);
  if (!is_aligned(source_offset | offset | length, alignment)) {
    co_return co_await File::copy_from(source, source_offset, offset, length);
  }
  RangeLock::Guard guard(writes_, offset, length, /*exclusive=*/false);
  co_await guard.acquired();
  auto copy = [source_fd = from->file_.fd, fd = file_.fd, source_offset, offset, length] {
    return copy_in_kernel(source_fd, source_offset, fd, offset, length);
  };
  // In memory it is a copy, never a wait: workers would only contend for the file's locks.
  const bool on_the_spot =
      traits_.in_memory && from->traits_.in_memory && length <= kCopyOnTheSpotMax;
  KernelCopy copied;
  if (on_the_spot) {
    copied = copy();
  } else {
    copied = co_await ring_.offload(copy);
  }
  switch (copied.os_error) {
    case 0: co_return copied.count;
    case EOPNOTSUPP:
    case ENOSYS:
    case EXDEV:
    case EINVAL:
    case EBADF:
      if (copied.count == 0) {
        co_return co_await File::copy_from(source, source_offset, offset, length);
      }
      [[fallthrough]];
    default: co_return error(copied.os_error, "copy to", offset + copied.count);
  }
}

}  // namespace platter
