#include "io/file_attributes.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace platter {
namespace {

bool lacks_it(int os_error) {
  return os_error == ENOTTY || os_error == EOPNOTSUPP || os_error == ENOSYS || os_error == EINVAL;
}

Result<void> set_no_cow(int fd, std::string_view path) {
  int flags = 0;
  if (::ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
    flags |= FS_NOCOW_FL;
    if (::ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) return {};
  }
  if (lacks_it(errno)) return {};
  return fail_errno(errno, "turn off copy-on-write of", path);
}

Result<void> set_extent_size(int fd, std::uint64_t bytes, std::string_view path) {
  fsxattr attribute{};
  if (::ioctl(fd, FS_IOC_FSGETXATTR, &attribute) == 0) {
    attribute.fsx_xflags |= FS_XFLAG_EXTSIZE;
    if (bytes == 0) attribute.fsx_xflags &= ~static_cast<std::uint32_t>(FS_XFLAG_EXTSIZE);
    attribute.fsx_extsize = static_cast<std::uint32_t>(bytes);
    if (::ioctl(fd, FS_IOC_FSSETXATTR, &attribute) == 0) return {};
  }
  if (lacks_it(errno)) return {};
  return fail_errno(errno, "set the extent size of", path);
}

}  // namespace

Result<void> set_attributes(int fd, const FileAttributes& attributes, std::string_view path) {
  if (attributes.no_cow) {
    if (auto set = set_no_cow(fd, path); !set) return set;
  }
  if (attributes.extent_size_hint) return set_extent_size(fd, *attributes.extent_size_hint, path);
  return {};
}

}  // namespace platter
