// LVM's volume groups and the volumes in them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/task.h"

namespace platter {

enum class VolumeKind : std::uint8_t {
  linear,
  snapshot,   ///< copy-on-write, of a volume that is not thin
  thin_pool,  ///< space that thin volumes share; holds no data of its own
  thin,       ///< in a pool; with an origin: a snapshot of that
  other,      ///< mirrors, stripes, caches, ...: seen, and never made here
};
/// "linear", "thin-pool", ...
std::string_view to_string(VolumeKind kind) noexcept;

/// Sizes are in bytes.
struct VolumeInfo {
  std::string name;
  std::string uuid;
  std::uint64_t size = 0;  ///< of a `snapshot`: the space that it has, not its origin's size
  VolumeKind kind = VolumeKind::other;
  std::string pool;    ///< of a thin volume
  std::string origin;  ///< of a snapshot
  bool active = false;
  std::optional<double> data_percent;  ///< how full: a pool, a thin volume, a snapshot; if active
  std::optional<double> metadata_percent;  ///< of a pool
  std::uint32_t major = 0;                 ///< the device's number, if active
  std::uint32_t minor = 0;
};

struct VolumeGroupInfo {
  std::string name;
  std::string uuid;
  std::uint64_t size = 0;
  std::uint64_t free = 0;
  std::uint64_t extent_size = 0;  ///< sizes are multiples of it
};

struct NewVolume {
  std::string name;
  VolumeKind kind = VolumeKind::linear;
  /// Bytes, rounded up to whole extents. Of a snapshot of kind `snapshot`: the space for what changes;
  /// of one of kind `thin`: not used.
  std::uint64_t size = 0;
  std::string pool{};    ///< a thin volume's; not needed with an origin
  std::string origin{};  ///< what a snapshot is of
  /// Without: metadata alone is written, and the volume has no device until something activates it.
  /// For a kind that LVM can make so: linear.
  bool activate = true;
};

/// One volume group, by name. Commands lock the group as LVM's own do, so that any number of processes
/// may use it. Names are checked before LVM sees them.
///
/// Errors of all: invalid_argument, not_found (the group, or a volume), permission, unsupported, io.
/// Their text is LVM's own. REQUIRES: a ring.
class VolumeGroup {
 public:
  /// Nothing is read yet. Errors: invalid_argument (the name).
  static Result<VolumeGroup> named(std::string name);
  /// Every group that LVM sees.
  static Task<std::vector<VolumeGroupInfo>> all();

  const std::string& name() const noexcept { return name_; }
  /// "/dev/GROUP/VOLUME": a block device, for DirectFile and every verb.
  std::string path_of(std::string_view volume) const;

  Task<VolumeGroupInfo> info() const;
  /// Without those that LVM keeps for itself.
  Task<std::vector<VolumeInfo>> volumes() const;
  Task<VolumeInfo> volume(std::string volume) const;

  /// Makes it and, if it is active, waits for its device. The first 4 KiB are zeroes and signatures
  /// of filesystems are gone; otherwise a linear volume holds what was there before.
  /// Errors: already_exists, no_space.
  Task<VolumeInfo> create(NewVolume volume) const;
  /// Grows it to `size` bytes, rounded up to whole extents. Errors: invalid_argument (it is not
  /// smaller now), no_space.
  Task<VolumeInfo> extend(std::string volume, std::uint64_t size) const;
  /// Errors: already_exists, in_use.
  Task<void> rename(std::string volume, std::string new_name) const;
  /// Errors: in_use (it is open, or others need it: snapshots of an origin, volumes of a pool).
  Task<void> remove(std::string volume) const;
  /// Makes the volume's device, or takes it away. Errors: in_use.
  Task<void> activate(std::string volume) const;
  Task<void> deactivate(std::string volume) const;

 private:
  explicit VolumeGroup(std::string name) : name_(std::move(name)) {}
  Result<std::string> full_name(std::string_view volume) const;

  std::string name_;
};

/// Waits until `path` leads to the block device with that number, which udev or LVM itself makes some
/// time after the kernel has it. Errors: not_found (not within the time).
Task<void> wait_for_device(std::string path, std::uint32_t major, std::uint32_t minor,
                           std::chrono::milliseconds time = std::chrono::seconds(10));

}  // namespace platter
