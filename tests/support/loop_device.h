// Block devices and filesystems for tests that run as root.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace platter::test {

/// Why this process can't make loop devices and mounts; nothing if it can:
///   `if (auto why = no_loop_devices()) GTEST_SKIP() << *why;`
std::optional<std::string> no_loop_devices();

struct LoopOptions {
  std::uint32_t sector_size = 512;  ///< bytes: 512 or 4096
  bool read_only = false;
};

/// A block device over a file. The kernel frees it with the last descriptor, so that not even a
/// killed test leaves it behind. A CHECK fails where the kernel refuses.
class LoopDevice {
 public:
  explicit LoopDevice(const std::string& file, LoopOptions options = {});

  /// "/dev/loop3"
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  UniqueFd fd_;
};

enum class FilesystemKind : std::uint8_t { ext4, xfs, btrfs, tmpfs };

/// A fresh filesystem: on a loop device over a sparse file in a temporary folder, or in memory.
/// Mounted in a mount namespace of this process, which is made first: nobody else sees it, and the
/// kernel unmounts it when the process ends, however it ends. XFS can share blocks (reflink).
class MountedFilesystem {
 public:
  /// `size` in bytes; 0: what the filesystem needs. `options` are mount options, for example "ro".
  explicit MountedFilesystem(FilesystemKind kind, std::uint64_t size = 0,
                             const std::string& options = "");
  ~MountedFilesystem();
  MountedFilesystem(const MountedFilesystem&) = delete;
  MountedFilesystem& operator=(const MountedFilesystem&) = delete;

  /// Where it is mounted.
  const std::string& path() const noexcept { return mount_point_; }
  /// The path of `name` on it.
  std::string operator/(std::string_view name) const {
    return mount_point_ + "/" + std::string(name);
  }
  /// Mounts it again with other options, for example "ro".
  void remount(const std::string& options);

 private:
  FilesystemKind kind_;
  TempDir folder_;
  std::string mount_point_;
  std::optional<LoopDevice> device_;
};

}  // namespace platter::test
