#include "io/image_lock.h"

#include <fcntl.h>

#include <cerrno>
#include <string>

namespace platter {
namespace {

constexpr unsigned kUses = 4;
constexpr off_t kUsedBase = 100;
constexpr off_t kUnsharedBase = 200;

constexpr ImageUse use_of(unsigned n) { return static_cast<ImageUse>(1U << n); }

std::string_view name_of(unsigned n) {
  constexpr std::string_view kNames[kUses] = {"consistent read", "write", "write unchanged",
                                              "resize"};
  return kNames[n];
}

struct flock lock_byte(short type, off_t byte) {
  struct flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return lock;
}

Result<void> add(int fd, off_t byte, std::string_view path) {
  struct flock lock = lock_byte(F_RDLCK, byte);
  int status = 0;
  do {
    status = ::fcntl(fd, F_OFD_SETLK, &lock);
  } while (status != 0 && errno == EINTR);
  if (status == 0) return {};
  const int os_error = errno;
  if (os_error == EAGAIN || os_error == EACCES) {  // someone's exclusive lock, not QEMU's way
    return fail(ErrorKind::in_use,
                "Failed to lock byte " + std::to_string(byte) + ": " + errno_text(os_error));
  }
  return fail(Error::from_errno(os_error, "lock", path, static_cast<std::uint64_t>(byte))
                  .with_context("Failed to lock byte " + std::to_string(byte)));
}

// True if another opener's lock on the byte would stand in a writer's way.
Result<bool> is_held(int fd, off_t byte, std::string_view path) {
  struct flock lock = lock_byte(F_WRLCK, byte);
  if (::fcntl(fd, F_OFD_GETLK, &lock) != 0) {
    return fail_errno(errno, "query the locks of", path, static_cast<std::uint64_t>(byte));
  }
  return lock.l_type != F_UNLCK;
}

std::unexpected<Error> conflict(std::string_view shared, unsigned n, std::string_view path) {
  return fail(ErrorKind::in_use,
              "Failed to get " + std::string(shared) + "\"" + std::string(name_of(n)) +
                  "\" lock\nIs another process using the image [" + std::string(path) + "]?");
}

Result<void> check_conflicts(int fd, const ImageLockRequest& request, std::string_view path) {
  for (unsigned n = 0; n < kUses; ++n) {
    if (has(request.used, use_of(n))) {
      const Result<bool> held = is_held(fd, kUnsharedBase + static_cast<off_t>(n), path);
      if (!held) return fail(held.error().clone());
      if (*held) return conflict("", n, path);
    }
    if (has(request.unshared, use_of(n))) {
      const Result<bool> held = is_held(fd, kUsedBase + static_cast<off_t>(n), path);
      if (!held) return fail(held.error().clone());
      if (*held) return conflict("shared ", n, path);
    }
  }
  return {};
}

Result<void> add_all(int fd, const ImageLockRequest& request, std::string_view path) {
  for (unsigned n = 0; n < kUses; ++n) {
    const auto at = static_cast<off_t>(n);
    if (has(request.used, use_of(n))) {
      if (auto added = add(fd, kUsedBase + at, path); !added) return added;
    }
    if (has(request.unshared, use_of(n))) {
      if (auto added = add(fd, kUnsharedBase + at, path); !added) return added;
    }
  }
  return {};
}

}  // namespace

Result<void> acquire_image_lock(int fd, const ImageLockRequest& request, std::string_view path) {
  // Announce first, then look: of two that come at once at least one sees the other.
  Result<void> locked = add_all(fd, request, path);
  if (locked) locked = check_conflicts(fd, request, path);
  if (!locked) release_image_lock(fd);
  return locked;
}

void release_image_lock(int fd) noexcept {
  struct flock lock = lock_byte(F_UNLCK, kUsedBase);
  lock.l_len = kUnsharedBase + static_cast<off_t>(kUses) - kUsedBase;
  ::fcntl(fd, F_OFD_SETLK, &lock);
}

}  // namespace platter
