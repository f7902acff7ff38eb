#include "io/direct_probe.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "io/notice.h"

namespace platter {
namespace {

// Large enough for every device known; and what to assume where nothing can be found out.
constexpr std::uint32_t kSafeAlignment = 4096;

std::string descriptor_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

std::unexpected<Error> wrong_type(const std::string& name, mode_t mode) {
  const char* type = S_ISFIFO(mode)   ? " (it is a FIFO)"
                     : S_ISSOCK(mode) ? " (it is a socket)"
                     : S_ISCHR(mode)  ? " (it is a character device)"
                                      : "";
  return fail(ErrorKind::wrong_type,
              "'file' driver requires '" + name + "' to be a regular file" + type);
}

// Btrfs serves unaligned direct requests too, through the page cache: a trial shows nothing.
bool refuses_unaligned(int fd) {
  struct statfs status{};
  return ::fstatfs(fd, &status) == 0 && status.f_type != BTRFS_SUPER_MAGIC;
}

// Trial reads, for kernels that don't tell (before 6.1). At end of file any length works, so that
// an empty file shows nothing: then the safe value stands.
std::uint32_t probe_request_alignment(int fd) {
  struct FreeDeleter {
    void operator()(void* memory) const { std::free(memory); }
  };
  const std::unique_ptr<void, FreeDeleter> memory(std::aligned_alloc(4096, 4096));
  if (!memory) return kSafeAlignment;
  struct stat status{};
  if (::fstat(fd, &status) != 0 || status.st_size == 0) return kSafeAlignment;
  for (std::uint32_t size = 512; size < kSafeAlignment; size *= 2) {
    if (::pread(fd, memory.get(), size, 0) > 0) return size;
  }
  return kSafeAlignment;
}

DirectAlignment find_alignment(int fd, bool is_block_device) {
  struct ::statx status{};
  constexpr unsigned kMask = STATX_DIOALIGN;
  if (::statx(fd, "", AT_EMPTY_PATH, kMask, &status) == 0 && (status.stx_mask & kMask) != 0) {
    if (status.stx_dio_offset_align == 0) return {};
    return {true, status.stx_dio_offset_align, status.stx_dio_mem_align};
  }
  int logical_block = 0;
  if (is_block_device && ::ioctl(fd, BLKSSZGET, &logical_block) == 0 && logical_block > 0) {
    const auto block = static_cast<std::uint32_t>(logical_block);
    return {true, block, block};
  }
  const std::uint32_t request =
      refuses_unaligned(fd) ? probe_request_alignment(fd) : kSafeAlignment;
  return {true, request, kSafeAlignment};
}

Result<DirectAlignment> no_direct(const std::string& name, CacheUse cache) {
  const std::string reason = "'" + name + "': the filesystem does not support direct I/O";
  if (cache == CacheUse::direct) return fail(ErrorKind::unsupported, reason);
  notice_once(reason + "; using the page cache");
  return DirectAlignment{};
}

Task<UniqueFd> look_up(Ring& ring, const std::string& name, const PathLookup& lookup) {
  if (lookup) co_return lookup(name);
  const int path_fd = co_await ring.openat(AT_FDCWD, name.c_str(), O_PATH | O_CLOEXEC, 0);
  if (path_fd < 0) co_return fail_errno(-path_fd, "open", name);
  co_return UniqueFd(path_fd);
}

}  // namespace

Task<UniqueFd> open_checked(std::string name, const FileOptions& options) {
  Ring& ring = Ring::current();
  const UniqueFd path = co_await look_up(ring, name, options.lookup);
  struct stat status{};
  if (::fstat(path.get(), &status) != 0) co_return fail_errno(errno, "stat", name);
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) {
    co_return wrong_type(name, status.st_mode);
  }
  if (options.approve) co_await options.approve(path.get());
  int flags = O_CLOEXEC | (options.access == Access::read_only ? O_RDONLY : O_RDWR);
  if (options.durability == Durability::every_write) flags |= O_DSYNC;
  if (options.exclusive_device && S_ISBLK(status.st_mode)) flags |= O_EXCL;
  const std::string reopen = descriptor_path(path.get());
  const int fd = co_await ring.openat(AT_FDCWD, reopen.c_str(), flags, 0);
  if (fd == -ENOENT) {
    co_return fail(ErrorKind::unsupported,
                   "Could not open '" + name + "': /proc is needed and not mounted");
  }
  if (fd < 0) co_return fail_errno(-fd, "open", name);
  co_return UniqueFd(fd);
}

Result<UniqueFd> reopen_buffered(int fd, const std::string& name, Durability durability) {
  const int sync = durability == Durability::every_write ? O_DSYNC : 0;
  int opened = -1;
  do {
    opened = ::open(descriptor_path(fd).c_str(), O_RDWR | O_CLOEXEC | sync);
  } while (opened < 0 && errno == EINTR);
  if (opened < 0) return fail_errno(errno, "reopen", name);
  return UniqueFd(opened);
}

Result<DirectAlignment> enable_direct(int fd, const std::string& name, CacheUse cache) {
  if (cache == CacheUse::buffered) return DirectAlignment{};
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat", name);
  const bool is_block_device = S_ISBLK(status.st_mode);
  // Memory has no device behind it to go to. The flag, which Linux takes there since 6.6, would only
  // ask for alignment and have copy_file_range() make a second copy.
  if (!is_block_device && lives_in_memory(fd)) return DirectAlignment{};
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return fail_errno(errno, "get the flags of", name);
  if (::fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) return no_direct(name, cache);
  const DirectAlignment alignment = find_alignment(fd, is_block_device);
  if (alignment.direct) return alignment;
  if (::fcntl(fd, F_SETFL, flags) != 0) return fail_errno(errno, "set the flags of", name);
  return no_direct(name, cache);
}

bool lives_in_memory(int fd) noexcept {
  struct statfs status{};
  if (::fstatfs(fd, &status) != 0) return false;
  return status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC;
}

}  // namespace platter
