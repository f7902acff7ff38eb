#include "io/direct_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>

#include "io/bytes.h"
#include "io/direct_probe.h"

namespace platter {
namespace {

// Unaligned requests move through buffers of at most this size.
constexpr std::uint64_t kBounceSize = 1 * kMiB;

// The page cache works in folios, of at most this size: a write through it may write back all of
// one, and fails direct writes to any part of it.
constexpr std::uint64_t kFolioSizeMax = 2 * kMiB;

// A range without an end, for a RangeLock.
constexpr std::uint64_t to_infinity(std::uint64_t offset) {
  return std::numeric_limits<std::uint64_t>::max() - offset;
}

// A device that never gets further than a part of a block is broken.
constexpr unsigned kFruitlessAttemptsMax = 100;

bool is_transient(int result) { return result == -EINTR || result == -EAGAIN; }

// EAGAIN from a file that can't say when it is ready: look again, without spinning.
Task<void> back_off(Ring& ring, unsigned attempt) {
  if (attempt > 0) {
    const int slept = co_await ring.sleep(std::chrono::milliseconds(1));
    if (slept < 0) co_await fail_errno(-slept, "wait");
  }
}

}  // namespace

DirectFile::DirectFile(UniqueFd fd, std::string name, const FileOptions& options)
    : fd_(std::move(fd)),
      name_(std::move(name)),
      ring_(Ring::current()),
      file_{.fd = fd_.get()},
      durability_(options.durability) {}

DirectFile::~DirectFile() {
  if (file_.slot >= 0) ring_.unregister_file(file_.slot);
  if (locked_ && fd_) release_image_lock(fd_.get());
}

Task<std::unique_ptr<DirectFile>> DirectFile::open(std::string name, FileOptions options) {
  UniqueFd fd = co_await open_checked(name, options);
  co_return co_await adopt(std::move(fd), std::move(name), options);
}

Task<std::unique_ptr<DirectFile>> DirectFile::adopt(UniqueFd fd, std::string name,
                                                    FileOptions options) {
  std::unique_ptr<DirectFile> file(new DirectFile(std::move(fd), std::move(name), options));
  co_await file->set_up(options);
  co_return file;
}

Result<void> DirectFile::set_up(const FileOptions& options) {
  struct stat status{};
  if (::fstat(file_.fd, &status) != 0) return error(errno, "stat");
  traits_.is_block_device = S_ISBLK(status.st_mode);
  traits_.read_only = options.access == Access::read_only;
  traits_.in_memory = !traits_.is_block_device && lives_in_memory(file_.fd);
  file_.in_memory = traits_.in_memory;
  id_ = traits_.is_block_device ? FileId{0, status.st_rdev} : FileId{status.st_dev, status.st_ino};
  if (options.lock) {
    if (auto locked = acquire_image_lock(file_.fd, *options.lock, name_); !locked) return locked;
    locked_ = true;
  }
  Result<DirectAlignment> alignment = enable_direct(file_.fd, name_, options.cache);
  if (!alignment) return fail(std::move(alignment.error()));
  traits_.direct = alignment->direct;
  traits_.request_alignment = alignment->request;
  traits_.memory_alignment = alignment->memory;
  if (traits_.is_block_device) {
    int sector = 0;
    if (::ioctl(file_.fd, BLKSSZGET, &sector) != 0) return error(errno, "get the sector size of");
    device_sector_ = static_cast<std::uint32_t>(sector);
    int device_read_only = 0;
    if (!traits_.read_only && ::ioctl(file_.fd, BLKROGET, &device_read_only) == 0 &&
        device_read_only != 0) {
      return error(EROFS, "open");
    }
  }
  if (!file_.in_memory) file_.slot = ring_.register_file(file_.fd);
  return {};
}

std::unexpected<Error> DirectFile::error(int os_error, std::string_view operation,
                                         std::optional<std::uint64_t> offset) const {
  return fail_errno(os_error, operation, name_, offset);
}

bool DirectFile::aligned(std::uint64_t offset, const void* memory,
                         std::size_t length) const noexcept {
  return is_aligned(offset | length, traits_.request_alignment) &&
         is_aligned(reinterpret_cast<std::uintptr_t>(memory), traits_.memory_alignment);
}

bool DirectFile::aligned(std::uint64_t offset, std::span<const iovec> pieces) const noexcept {
  return std::ranges::all_of(pieces, [this, offset](const iovec& piece) {
    return aligned(offset, piece.iov_base, piece.iov_len);
  });
}

std::uint64_t DirectFile::block_begin(std::uint64_t offset) const noexcept {
  return align_down(offset, traits_.request_alignment);
}
std::uint64_t DirectFile::block_end(std::uint64_t offset) const noexcept {
  return align_up(offset, traits_.request_alignment);
}

Result<std::uint64_t> DirectFile::size_now() const {
  if (traits_.is_block_device) {
    std::uint64_t bytes = 0;
    if (::ioctl(file_.fd, BLKGETSIZE64, &bytes) != 0) return error(errno, "get the size of");
    return bytes;
  }
  struct stat status{};
  if (::fstat(file_.fd, &status) != 0) return error(errno, "get the size of");
  return static_cast<std::uint64_t>(status.st_size);
}

Result<std::uint64_t> DirectFile::disk_usage() const {
  struct stat status{};
  if (::fstat(file_.fd, &status) != 0) return error(errno, "stat");
  return static_cast<std::uint64_t>(status.st_blocks) * 512;
}

Result<void> DirectFile::check_range(std::string_view operation, std::uint64_t offset,
                                     std::uint64_t length) const {
  if (!in_bounds(offset, length, kMaxFileSize)) return error(EFBIG, operation, offset);
  return {};
}

Result<void> DirectFile::check_change(std::string_view operation, std::uint64_t offset,
                                      std::uint64_t length) const {
  if (!traits_.read_only) return check_range(operation, offset, length);
  return fail(ErrorKind::read_only, "Could not " + std::string(operation) + " '" + name_ +
                                        "': it is open for reading only");
}

Task<std::uint64_t> DirectFile::size() { co_return size_now(); }

Task<std::size_t> DirectFile::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await check_range("read", offset, into.size());
  if (aligned(offset, into.data(), into.size())) co_return co_await read_aligned(offset, into);
  co_return co_await read_bounced(offset, into);
}

Task<std::size_t> DirectFile::read_aligned(std::uint64_t offset, std::span<std::byte> into) {
  std::size_t done = 0;
  unsigned attempts = 0;
  while (done < into.size()) {
    const int result = co_await ring_.read(file_, into.subspan(done), offset + done);
    if (is_transient(result)) {
      co_await back_off(ring_, attempts++);
      continue;
    }
    if (result < 0) co_return error(-result, "read", offset + done);
    if (result == 0) break;
    done += static_cast<std::size_t>(result);
    if (is_aligned(done, traits_.request_alignment)) continue;
    // A direct read that ends within a block has met the end of the file; if not: once more.
    if (offset + done >= co_await size_now()) break;
    if (attempts >= kFruitlessAttemptsMax) co_return error(EIO, "read", offset + done);
    co_await back_off(ring_, attempts++);
    done = align_down(done, traits_.request_alignment);
  }
  co_return done;
}

Task<std::size_t> DirectFile::read_bounced(std::uint64_t offset, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t begin = block_begin(at);
    const std::uint64_t end = std::min(block_end(offset + into.size()), begin + kBounceSize);
    Buffer bounce = co_await ring_.buffers().acquire(end - begin);
    const std::size_t count = co_await read_aligned(begin, bounce.bytes());
    if (begin + count <= at) break;
    const std::size_t wanted = std::min<std::uint64_t>(into.size() - done, begin + count - at);
    std::memcpy(into.data() + done, bounce.data() + (at - begin), wanted);
    done += wanted;
    if (count < bounce.size()) break;
  }
  co_return done;
}

Task<std::size_t> DirectFile::readv(std::uint64_t offset, std::span<const iovec> into) {
  const std::size_t total = total_size(into);
  co_await check_range("read", offset, total);
  const bool one_request = into.size() <= IOV_MAX && aligned(offset, into);
  if (!one_request) co_return co_await File::readv(offset, into);
  const int result = co_await ring_.readv(file_, into, offset);
  if (result >= 0 && static_cast<std::size_t>(result) == total) co_return total;
  // Short (at the end of the file, or not), or to be tried again: go on piece by piece.
  if (result < 0 && !is_transient(result)) co_return error(-result, "read", offset);
  co_return co_await File::readv(offset, into);
}

Task<void> DirectFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_change("write", offset, data.size());
  if (data.empty()) co_return;
  if (!aligned(offset, data.data(), data.size())) {
    co_await write_bounced(offset, data);
    co_return;
  }
  RangeLock::Guard guard(writes_, offset, data.size(), /*exclusive=*/false);
  co_await guard.acquired();
  co_await write_aligned(offset, data);
}

Task<void> DirectFile::write_aligned(std::uint64_t offset, std::span<const std::byte> data) {
  std::size_t done = 0;
  unsigned attempts = 0;
  while (done < data.size()) {
    const int result = co_await ring_.write(file_, data.subspan(done), offset + done);
    if (is_transient(result)) {
      co_await back_off(ring_, attempts++);
      continue;
    }
    if (result < 0) co_await error(-result, "write", offset + done);
    if (result == 0) co_await error(ENOSPC, "write", offset + done);
    // A direct write can end short within a block: write that block again, whole.
    const std::size_t reached =
        align_down(done + static_cast<std::size_t>(result), traits_.request_alignment);
    if (reached == done) {
      if (attempts >= kFruitlessAttemptsMax) co_await error(EIO, "write", offset + done);
      co_await back_off(ring_, attempts++);
    }
    done = reached;
  }
}

// Cuts an unaligned write into pieces of whole blocks, each under its own lock.
Task<void> DirectFile::write_bounced(std::uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const std::uint64_t end = std::min(block_begin(offset) + kBounceSize, offset + data.size());
    const std::span<const std::byte> piece = data.first(end - offset);
    // The tail goes through the page cache, which nothing may pass by meanwhile.
    const bool tail = co_await ends_in_tail(end);
    const std::uint64_t begin = tail ? align_down(offset, kFolioSizeMax) : block_begin(offset);
    const std::uint64_t length = tail ? to_infinity(begin) : block_end(end) - begin;
    RangeLock::Guard guard(writes_, begin, length, /*exclusive=*/true);
    co_await guard.acquired();
    if (!tail && co_await ends_in_tail(end)) continue;  // the file was cut while this waited
    co_await write_blocks(offset, piece);
    offset = end;
    data = data.subspan(piece.size());
  }
}

// True if a write up to `end` ends within the file's last block, and that block is a partial one.
Result<bool> DirectFile::ends_in_tail(std::uint64_t end) const {
  const Result<std::uint64_t> size = size_now();
  if (!size) return fail(size.error().clone());
  return block_end(end) > std::max(*size, end);
}

// Under an exclusive lock on the blocks that the piece touches.
Task<void> DirectFile::write_blocks(std::uint64_t offset, std::span<const std::byte> data) {
  const std::uint64_t file_size = co_await size_now();
  std::uint64_t end = offset + data.size();
  const std::uint64_t new_size = std::max(file_size, end);
  if (block_end(end) > new_size) {
    // The last block is the file's partial one.
    const std::uint64_t tail = std::max(block_begin(end), offset);
    co_await write_tail(tail, data.subspan(tail - offset));
    end = tail;
    if (end == offset) co_return;
  }
  const std::uint64_t begin = block_begin(offset);
  Buffer bounce = co_await ring_.buffers().acquire(block_end(end) - begin);
  auto load = [&](std::uint64_t block) -> Task<void> {
    const std::span<std::byte> target =
        bounce.bytes().subspan(block - begin, traits_.request_alignment);
    const std::size_t count = co_await read_aligned(block, target);
    std::memset(target.data() + count, 0, target.size() - count);
  };
  const bool partial_head = begin < offset;
  const bool partial_tail = block_end(end) > end;
  if (partial_head) co_await load(begin);
  if (partial_tail && (!partial_head || block_begin(end) != begin)) co_await load(block_begin(end));
  std::memcpy(bounce.data() + (offset - begin), data.data(), end - offset);
  co_await write_aligned(begin, bounce.bytes());
}

Task<void> DirectFile::write_tail(std::uint64_t offset, std::span<const std::byte> data) {
  if (!buffered_fd_) buffered_fd_ = co_await reopen_buffered(file_.fd, name_, durability_);
  const int fd = buffered_fd_.get();
  // Blocking calls, and rare: at most one block, at the very end of the file.
  const int os_error = co_await ring_.offload([fd, offset, data] {
    for (std::size_t done = 0; done < data.size();) {
      const ssize_t count =
          ::pwrite(fd, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
      if (count == 0) return ENOSPC;
      if (count < 0 && !is_transient(-errno)) return errno;
      if (count > 0) done += static_cast<std::size_t>(count);
    }
    // Back on the device and out of the page cache before direct I/O meets this block again.
    constexpr unsigned kWait =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    const auto at = static_cast<off_t>(offset);
    const auto length = static_cast<off_t>(data.size());
    int result = 0;
    do {
      result = ::sync_file_range(fd, at, length, kWait);
    } while (result != 0 && errno == EINTR);
    return result == 0 || errno == ESPIPE || errno == ENOSYS ? 0 : errno;
  });
  if (os_error != 0) co_await error(os_error, "write", offset);
}

Task<void> DirectFile::writev(std::uint64_t offset, std::span<const iovec> data) {
  const std::size_t total = total_size(data);
  co_await check_change("write", offset, total);
  const bool one_request = data.size() <= IOV_MAX && aligned(offset, data);
  if (one_request) {
    RangeLock::Guard guard(writes_, offset, total, /*exclusive=*/false);
    co_await guard.acquired();
    const int result = co_await ring_.writev(file_, data, offset);
    if (result >= 0 && static_cast<std::size_t>(result) == total) co_return;
    if (result < 0 && !is_transient(result)) co_await error(-result, "write", offset);
  }
  // Short, or to be tried again, or unaligned: writing a piece twice does no harm.
  co_await File::writev(offset, data);
}

Task<void> DirectFile::flush() {
  if (durability_ == Durability::never) co_return;
  // One at a time, because the kernel tells of a lost write only once. Those that waited share the
  // next one: it begins after they were called.
  const std::uint64_t needed = flushes_ + (flushing_.locked() ? 2 : 1);
  const AsyncMutex::Guard guard = co_await flushing_.lock();
  if (flush_error_) co_await fail(flush_error_->clone());
  if (flushes_ >= needed) co_return;
  int result = 0;
  do {
    result = co_await ring_.fdatasync(file_);
  } while (result == -EINTR);
  ++flushes_;
  if (result == 0) co_return;
  flush_error_ = Error::from_errno(-result, "flush", name_);
  co_await fail(flush_error_->clone());
}

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
  co_return co_await try_fallocate(can_reserve_, 0, kOperation, offset, length) || true;
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

}  // namespace

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
  struct Copied {
    std::uint64_t count = 0;
    int os_error = 0;
  };
  const int source_fd = from->file_.fd;
  const int fd = file_.fd;
  const Copied copied = co_await ring_.offload([=] {
    Copied result;
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
  });
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

Task<void> DirectFile::close() {
  PLATTER_CHECK(fd_);
  // The kernel's table holds the file open, and its locks with it, so it goes first.
  if (file_.slot >= 0) ring_.unregister_file(std::exchange(file_.slot, -1));
  if (locked_) release_image_lock(file_.fd);
  file_.fd = -1;
  buffered_fd_ = UniqueFd();
  if (::close(fd_.release()) != 0 && errno != EINTR) co_await error(errno, "close");
}

}  // namespace platter
