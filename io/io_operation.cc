#include "io/io_operation.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

namespace platter {
namespace {

int sleep_for(__kernel_timespec time) {
  timespec left{.tv_sec = static_cast<time_t>(time.tv_sec),
                .tv_nsec = static_cast<long>(time.tv_nsec)};
  while (::clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR) {
  }
  return 0;
}

ssize_t call(const IoOperation& operation) {
  const int fd = operation.file.fd;
  const auto offset = static_cast<off_t>(operation.offset);
  switch (operation.code) {
    case IoCode::read: return ::pread(fd, operation.buffer, operation.length, offset);
    case IoCode::write: return ::pwrite(fd, operation.buffer, operation.length, offset);
    case IoCode::readv:
      return ::preadv(fd, static_cast<const iovec*>(operation.buffer),
                      static_cast<int>(operation.length), offset);
    case IoCode::writev:
      return ::pwritev(fd, static_cast<const iovec*>(operation.buffer),
                       static_cast<int>(operation.length), offset);
    case IoCode::fsync: return operation.flags != 0 ? ::fdatasync(fd) : ::fsync(fd);
    case IoCode::fallocate:
      return ::fallocate(fd, static_cast<int>(operation.flags), offset,
                         static_cast<off_t>(operation.offset2));
    case IoCode::statx:
      return ::statx(fd, operation.path, static_cast<int>(operation.flags), operation.length,
                     static_cast<struct ::statx*>(operation.buffer));
    case IoCode::openat:
      return ::openat(fd, operation.path, static_cast<int>(operation.flags), operation.length);
    case IoCode::timeout: return sleep_for(operation.time);
  }
  errno = ENOSYS;
  return -1;
}

}  // namespace

int perform(const IoOperation& operation) noexcept {
  ssize_t result = 0;
  do {
    result = call(operation);
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : static_cast<int>(result);
}

}  // namespace platter
