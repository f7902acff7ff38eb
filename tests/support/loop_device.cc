#include "tests/support/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "io/bytes.h"
#include "io/check.h"
#include "io/error.h"
#include "tests/support/run_command.h"

namespace platter::test {
namespace {

[[noreturn]] void give_up(const std::string& what) {
  const int os_error = errno;
  std::fprintf(stderr, "%s: %s\n", what.c_str(), errno_text(os_error).c_str());
  std::abort();
}

// Once for the process, on its first thread: those that it starts later inherit the namespace.
bool enter_mount_namespace() {
  static const bool entered = ::unshare(CLONE_NEWNS) == 0 &&
                              ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return entered;
}

void make_sparse_file(const std::string& path, std::uint64_t size) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) give_up(path);
}

struct FilesystemTraits {
  const char* name;
  std::uint64_t size;  // the smallest that mkfs accepts, with some room
  Command make;
};

FilesystemTraits traits_of(FilesystemKind kind) {
  switch (kind) {
    case FilesystemKind::ext4:
      return {"ext4", 64 * kMiB, {.argv = {"mkfs.ext4", "-q", "-E", "nodiscard"}}};
    case FilesystemKind::xfs:
      return {"xfs", 320 * kMiB, {.argv = {"mkfs.xfs", "-q", "-K", "-m", "reflink=1"}}};
    case FilesystemKind::btrfs: return {"btrfs", 256 * kMiB, {.argv = {"mkfs.btrfs", "-q", "-K"}}};
    case FilesystemKind::tmpfs: break;
  }
  return {"tmpfs", 0, {}};
}

}  // namespace

std::optional<std::string> no_loop_devices() {
  if (::geteuid() != 0) return "needs root, for loop devices and mounts";
  if (::access("/dev/loop-control", R_OK | W_OK) != 0) return "needs /dev/loop-control";
  if (!enter_mount_namespace()) return "needs the right to make a mount namespace";
  return std::nullopt;
}

LoopDevice::LoopDevice(const std::string& file, LoopOptions options) {
  const int mode = options.read_only ? O_RDONLY : O_RDWR;
  const UniqueFd backing(::open(file.c_str(), mode | O_CLOEXEC));
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!backing || !control) give_up(file);
  loop_config config{};
  config.fd = static_cast<__u32>(backing.get());
  config.block_size = options.sector_size;
  config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
  if (options.read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  for (int attempt = 0; attempt < 100; ++attempt) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) break;
    path_ = "/dev/loop" + std::to_string(number);
    UniqueFd device(::open(path_.c_str(), mode | O_CLOEXEC));
    if (device && ::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) {
      fd_ = std::move(device);
      return;
    }
    if (errno != EBUSY && errno != ENOENT) break;  // EBUSY: another process was faster
    ::usleep(10'000);
  }
  give_up("loop device");
}

MountedFilesystem::MountedFilesystem(FilesystemKind kind, std::uint64_t size,
                                     const std::string& options)
    : kind_(kind), mount_point_(folder_ / "mnt") {
  PLATTER_CHECK(!no_loop_devices());
  if (::mkdir(mount_point_.c_str(), 0755) != 0) give_up(mount_point_);
  FilesystemTraits traits = traits_of(kind);
  if (size == 0) size = traits.size;
  std::string source = "tmpfs";
  std::string data = options;
  if (kind == FilesystemKind::tmpfs) {
    if (size != 0) data += (data.empty() ? "size=" : ",size=") + std::to_string(size);
  } else {
    const std::string file = folder_ / "disk";
    make_sparse_file(file, size);
    traits.make.argv.push_back(file);
    if (const CommandResult made = run_command(traits.make); !made.ok()) {
      std::fprintf(stderr, "%s", made.err.c_str());
      give_up(traits.name);
    }
    source = device_.emplace(file).path();
  }
  if (::mount(source.c_str(), mount_point_.c_str(), traits.name, 0, data.c_str()) != 0) {
    give_up(std::string("mount ") + traits.name);
  }
  if (::chmod(mount_point_.c_str(), 0777) != 0) give_up(mount_point_);
}

MountedFilesystem::~MountedFilesystem() {
  if (::umount2(mount_point_.c_str(), 0) == 0) return;
  std::perror(mount_point_.c_str());
  ::umount2(mount_point_.c_str(), MNT_DETACH);
}

void MountedFilesystem::remount(const std::string& options) {
  const unsigned long flags = MS_REMOUNT | (options == "ro" ? MS_RDONLY : 0UL);
  const char* data = options == "ro" ? "" : options.c_str();
  if (::mount("none", mount_point_.c_str(), traits_of(kind_).name, flags, data) != 0) {
    give_up("remount");
  }
}

}  // namespace platter::test
