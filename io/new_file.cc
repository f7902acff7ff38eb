#include "io/new_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <random>

namespace platter {
namespace {

constexpr mode_t kMode = 0644;

struct Place {
  UniqueFd folder;
  std::string name;
};

// The folder is opened for reading so that it can be flushed; a folder that may only be searched
// and written is opened as a place alone.
Result<Place> open_folder(int base_fd, const std::string& path, const std::string& shown) {
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty()) return fail_errno(EISDIR, "create", shown);
  int fd = ::openat(base_fd, folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && errno == EACCES) {
    fd = ::openat(base_fd, folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  }
  if (fd < 0) return fail_errno(errno, "create", shown);
  return Place{UniqueFd(fd), name};
}

// The folder that a lookup gives: nothing is followed from there on.
Result<Place> look_up_place(const std::string& path, const PathLookup& lookup) {
  const std::size_t slash = path.rfind('/');
  const std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty()) return fail_errno(EISDIR, "create", path);
  const Result<UniqueFd> found = lookup(slash == std::string::npos ? "." : path.substr(0, slash));
  if (!found) return fail(found.error().clone());
  struct stat status{};
  if (::fstatat(found->get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    return fail_errno(EEXIST, "create", path);
  }
  Result<Place> place = open_folder(found->get(), "./" + name, path);
  return place;
}

// Where a new file of this path belongs: a dangling link is followed to the name it points at.
Result<Place> find_place(const std::string& path) {
  constexpr int kLinksMax = 40;  // the kernel's own limit
  Result<Place> place = open_folder(AT_FDCWD, path, path);
  for (int links = 0; place && links < kLinksMax; ++links) {
    std::array<char, PATH_MAX> target{};
    const ssize_t length =
        ::readlinkat(place->folder.get(), place->name.c_str(), target.data(), target.size() - 1);
    if (length < 0 && errno == ENOENT) return place;
    if (length < 0 && errno == EINVAL) return fail_errno(EEXIST, "create", path);
    if (length < 0) return fail_errno(errno, "create", path);
    const UniqueFd base = std::move(place->folder);
    place =
        open_folder(base.get(), std::string(target.data(), static_cast<std::size_t>(length)), path);
  }
  if (place) return fail_errno(ELOOP, "create", path);
  return place;
}

int open_flags(const FileOptions& options) {
  return O_RDWR | O_CLOEXEC | (options.durability == Durability::every_write ? O_DSYNC : 0);
}

// A hidden file is named ".NAME.xxxxxxxx.partial", x being hexadecimal digits, and NAME cut where
// the whole would be too long for a name.
constexpr std::size_t kShownNameMax = 200;
constexpr std::size_t kTagLength = 8;
constexpr std::string_view kHiddenSuffix = ".partial";

std::string hidden_prefix(const std::string& name) {
  return "." + name.substr(0, kShownNameMax) + ".";
}

bool is_hidden_name(std::string_view found, std::string_view prefix) {
  if (found.size() != prefix.size() + kTagLength + kHiddenSuffix.size()) return false;
  if (!found.starts_with(prefix) || !found.ends_with(kHiddenSuffix)) return false;
  return found.substr(prefix.size(), kTagLength).find_first_not_of("0123456789abcdef") ==
         std::string_view::npos;
}

// Holds the new file's lock, and nobody took the file for a stale one before that.
bool lock_hidden(int fd) {
  struct stat status{};
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::fstat(fd, &status) == 0 && status.st_nlink > 0;
}

// Removes hidden files of this name whose makers are gone: nobody holds their lock.
void remove_stale(int folder_fd, const std::string& name) {
  const int fd = ::openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* folder = fd < 0 ? nullptr : ::fdopendir(fd);
  if (folder == nullptr) {
    if (fd >= 0) ::close(fd);
    return;
  }
  const std::string prefix = hidden_prefix(name);
  while (const dirent* entry = ::readdir(folder)) {
    if (!is_hidden_name(entry->d_name, prefix)) continue;
    const UniqueFd stale(::openat(folder_fd, entry->d_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (stale && ::flock(stale.get(), LOCK_EX | LOCK_NB) == 0) {
      ::unlinkat(folder_fd, entry->d_name, 0);
    }
  }
  ::closedir(folder);
}

}  // namespace

NewFile::NewFile(UniqueFd folder, std::string name, std::string path)
    : folder_(std::move(folder)), name_(std::move(name)), path_(std::move(path)) {}

NewFile::~NewFile() {
  if (!hidden_.empty()) ::unlinkat(folder_.get(), hidden_.c_str(), 0);
}

Task<std::unique_ptr<NewFile>> NewFile::create(std::string path, FileOptions options) {
  Place place = co_await (options.lookup ? look_up_place(path, options.lookup) : find_place(path));
  std::unique_ptr<NewFile> made(
      new NewFile(std::move(place.folder), std::move(place.name), std::move(path)));
  made->durable_ = options.durability != Durability::never;
  UniqueFd fd = co_await made->open_unnamed(options);
  if (!fd) fd = co_await made->open_hidden(options);
  options.access = Access::read_write;
  made->file_ = co_await DirectFile::adopt(std::move(fd), made->path_, options);
  co_return made;
}

// No descriptor and no error: the filesystem has no unnamed files.
Result<UniqueFd> NewFile::open_unnamed(const FileOptions& options) {
  const int fd = ::openat(folder_.get(), ".", O_TMPFILE | open_flags(options), kMode);
  if (fd >= 0) return UniqueFd(fd);
  if (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT) return UniqueFd();
  return fail_errno(errno, "create", path_);
}

Result<UniqueFd> NewFile::open_hidden(const FileOptions& options) {
  remove_stale(folder_.get(), name_);
  std::random_device random;
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::array<char, 16> tag{};
    std::snprintf(tag.data(), tag.size(), "%08x", random());
    std::string hidden = hidden_prefix(name_) + tag.data() + std::string(kHiddenSuffix);
    UniqueFd fd(
        ::openat(folder_.get(), hidden.c_str(), O_CREAT | O_EXCL | open_flags(options), kMode));
    if (!fd && errno == EEXIST) continue;
    if (!fd) return fail_errno(errno, "create", path_);
    if (!lock_hidden(fd.get())) {
      ::unlinkat(folder_.get(), hidden.c_str(), 0);
      continue;
    }
    hidden_ = std::move(hidden);
    return fd;
  }
  return fail_errno(EEXIST, "create", path_);
}

Result<void> NewFile::link(int fd) const {
  int result = 0;
  if (hidden_.empty()) {
    const std::string source = "/proc/self/fd/" + std::to_string(fd);
    result = ::linkat(AT_FDCWD, source.c_str(), folder_.get(), name_.c_str(), AT_SYMLINK_FOLLOW);
  } else {
    result =
        ::renameat2(folder_.get(), hidden_.c_str(), folder_.get(), name_.c_str(), RENAME_NOREPLACE);
    if (result != 0 && errno == EINVAL) {  // the filesystem can't rename without replacing
      result = ::linkat(folder_.get(), hidden_.c_str(), folder_.get(), name_.c_str(), 0);
      if (result == 0) result = ::unlinkat(folder_.get(), hidden_.c_str(), 0);
    }
  }
  if (result != 0) return fail_errno(errno, "create", path_);
  return {};
}

void NewFile::withdraw(const DirectFile& file) const noexcept {
  struct stat ours{};
  struct stat named{};
  if (::fstat(file.fd(), &ours) != 0) return;
  if (::fstatat(folder_.get(), name_.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (ours.st_dev != named.st_dev || ours.st_ino != named.st_ino) return;
  ::unlinkat(folder_.get(), name_.c_str(), 0);
}

bool NewFile::same_name_as(const NewFile& other) const noexcept {
  struct stat a{};
  struct stat b{};
  return name_ == other.name_ && ::fstat(folder_.get(), &a) == 0 &&
         ::fstat(other.folder_.get(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

Task<void> NewFile::publish(DirectFile& file) {
  if (durable_) co_await file.flush();
  co_await link(file.fd());
  hidden_.clear();
  if (!durable_) co_return;
  Ring& ring = Ring::current();
  const int folder_fd = folder_.get();
  const int file_fd = file.fd();
  const int os_error = co_await ring.offload([folder_fd, file_fd] {
    if (::fsync(folder_fd) == 0) return 0;
    // A folder that can't be read can't be flushed by itself (EBADF on a place alone).
    if (errno == EBADF && ::syncfs(file_fd) == 0) return 0;
    return errno;
  });
  if (os_error == 0) co_return;
  ::unlinkat(folder_fd, name_.c_str(), 0);  // whole and durable, or absent
  co_await fail_errno(os_error, "flush the folder of", path_);
}

}  // namespace platter
