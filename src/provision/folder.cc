#include "src/provision/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "io/ring.h"

namespace platter::provision {
namespace {

constexpr mode_t kFolderMode = 0755;

// Whoever renames folders all the time must not keep us here for ever.
constexpr int kRacesMax = 1000;

int open_beneath(int folder_fd, const char* name, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long fd = -1;
  int races = 0;
  do {
    fd = ::syscall(SYS_openat2, folder_fd, name, &how, sizeof how);
  } while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++races < kRacesMax)));
  return static_cast<int>(fd);
}

std::unexpected<Error> open_error(int os_error, const std::string& path) {
  if (os_error == ELOOP) {
    return fail(ErrorKind::refused_by_policy,
                fmt::format("'{}' is a symbolic link, or leads through one", path));
  }
  if (os_error == EXDEV) {
    return fail(ErrorKind::refused_by_policy, fmt::format("'{}' leads out of its folder", path));
  }
  if (os_error == ENOSYS || os_error == EPERM) {
    return fail(
        ErrorKind::unsupported,
        fmt::format("Could not open '{}': openat2, which keeps names below their folder, is "
                    "missing or forbidden here ({})",
                    path, errno_text(os_error)));
  }
  return fail_errno(os_error, "open", path);
}

bool is_one_part(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

Result<void> check_type(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat", path);
  if (S_ISREG(status.st_mode)) return {};
  return fail(ErrorKind::wrong_type, fmt::format("'{}' is not a regular file", path));
}

}  // namespace

Folder::Folder(UniqueFd fd, std::string path) noexcept
    : fd_(std::move(fd)), path_(std::move(path)) {}

Result<Folder> Folder::open(std::string path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open", path);
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return Folder(std::move(fd), std::move(path));
}

std::string Folder::path_of(std::string_view name) const {
  return (path_ == "/" ? path_ : path_ + "/") + std::string(name);
}

std::unexpected<Error> Folder::no_name(const std::string& name) const {
  return fail(ErrorKind::refused_by_policy,
              fmt::format("'{}' is no name of something in '{}'", name, path_));
}

Result<UniqueFd> Folder::open_below(const std::string& name, int flags, mode_t mode) const {
  if (!is_one_part(name)) return no_name(name);
  UniqueFd fd(open_beneath(fd_.get(), name.c_str(), flags, mode));
  if (!fd) return open_error(errno, path_of(name));
  return fd;
}

Result<Folder> Folder::folder(const std::string& name) const {
  Result<UniqueFd> fd = open_below(name, O_RDONLY | O_DIRECTORY, 0);
  if (!fd) return fail(std::move(fd.error()));
  return Folder(*std::move(fd), path_of(name));
}

Result<Folder> Folder::make_folder(const std::string& name) const {
  Result<Folder> found = folder(name);
  if (found || found.error().kind() != ErrorKind::not_found) return found;
  if (::mkdirat(fd_.get(), name.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return fail_errno(errno, "create", path_of(name));
  }
  Result<Folder> made = folder(name);
  if (!made) return made;
  if (Result<void> given = hand_over(made->fd(), name); !given) {
    return fail(std::move(given.error()));
  }
  return made;
}

Result<UniqueFd> Folder::open_file(const std::string& name, int flags, mode_t mode) const {
  // A FIFO must not be waited for.
  Result<UniqueFd> fd = open_below(name, flags | O_NONBLOCK | O_NOCTTY, mode);
  if (!fd) return fd;
  if (Result<void> fits = check_type(fd->get(), path_of(name)); !fits) {
    return fail(std::move(fits.error()));
  }
  const int kept = ::fcntl(fd->get(), F_GETFL);
  if (kept < 0 || ::fcntl(fd->get(), F_SETFL, kept & ~O_NONBLOCK) != 0) {
    return fail_errno(errno, "set the flags of", path_of(name));
  }
  return fd;
}

Result<void> Folder::hand_over(int fd, const std::string& name) const {
  struct stat owner{};
  if (::geteuid() != 0) return {};
  if (::fstat(fd_.get(), &owner) != 0) return fail_errno(errno, "stat", path_);
  if (owner.st_uid == 0 && owner.st_gid == 0) return {};
  if (::fchown(fd, owner.st_uid, owner.st_gid) == 0) return {};
  return fail_errno(errno, "set the owner of", path_of(name));
}

Result<std::optional<struct stat>> Folder::status(const std::string& name) const {
  struct stat status{};
  if (!is_one_part(name)) return no_name(name);
  if (::fstatat(fd_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return status;
  if (errno == ENOENT) return std::nullopt;
  return fail_errno(errno, "stat", path_of(name));
}

Result<std::vector<std::string>> Folder::names() const {
  UniqueFd fd(::openat(fd_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "read", path_);
  const auto close_folder = [](DIR* folder) { ::closedir(folder); };
  const std::unique_ptr<DIR, decltype(close_folder)> folder(::fdopendir(fd.get()), close_folder);
  if (!folder) return fail_errno(errno, "read", path_);
  fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  if (errno != 0) return fail_errno(errno, "read", path_);
  return names;
}

Result<void> Folder::rename(const std::string& from, const std::string& to) const {
  if (!is_one_part(from)) return no_name(from);
  if (!is_one_part(to)) return no_name(to);
  if (::renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) == 0) return {};
  return fail_errno(errno, "rename", path_of(from));
}

Result<bool> Folder::remove_file(const std::string& name) const {
  if (!is_one_part(name)) return no_name(name);
  if (::unlinkat(fd_.get(), name.c_str(), 0) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_errno(errno, "remove", path_of(name));
}

Result<bool> Folder::remove_folder(const std::string& name) const {
  if (!is_one_part(name)) return no_name(name);
  if (::unlinkat(fd_.get(), name.c_str(), AT_REMOVEDIR) == 0) return true;
  if (errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST) return false;
  return fail_errno(errno, "remove", path_of(name));
}

Task<void> Folder::sync() const {
  const int done = co_await Ring::current().fsync(RingFile{.fd = fd_.get()});
  if (done < 0) co_await fail_errno(-done, "flush", path_);
}

PathLookup Folder::lookup() const {
  return [this](const std::string& path) -> Result<UniqueFd> {
    const std::string prefix = path_of("");
    if (path != path_ && !path.starts_with(prefix)) {
      return fail(ErrorKind::refused_by_policy,
                  fmt::format("'{}' does not lie below '{}'", path, path_));
    }
    // openat2 refuses what begins with a slash.
    const std::size_t begin =
        path == path_ ? std::string::npos : path.find_first_not_of('/', prefix.size());
    const std::string rest = begin == std::string::npos ? "." : path.substr(begin);
    UniqueFd fd(open_beneath(fd_.get(), rest.c_str(), O_PATH, 0));
    if (!fd) return open_error(errno, path);
    return fd;
  };
}

}  // namespace platter::provision
