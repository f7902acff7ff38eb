// Opening, reading, flushing and closing. Writing is in direct_file_write.cc, what the filesystem
// does with space in direct_file_space.cc.
#include "io/direct_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <utility>

#include "io/bytes.h"
#include "io/direct_io.h"
#include "io/direct_probe.h"

namespace platter {

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
    if (auto locked = lock(*options.lock); !locked) return locked;
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
  // The kernel lets go of a registered file up to a second after it was told to, or after the process
  // ended: whoever comes next would find the device claimed.
  const bool claimed = traits_.is_block_device && options.exclusive_device;
  if (!file_.in_memory && !claimed) file_.slot = ring_.register_file(file_.fd);
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

Result<void> DirectFile::lock(const ImageLockRequest& request) {
  Result<void> locked = acquire_image_lock(file_.fd, request, name_);
  locked_ = locked_ || locked.has_value();
  return locked;
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
