// Disks on logical volumes: made whole or not at all, encrypted, removed without a trace.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "crypto/dm_crypt.h"
#include "crypto/volume_group.h"
#include "crypto/wipe.h"
#include "io/cancel.h"
#include "io/task.h"

namespace platter::provision {

/// How a volume is encrypted. The key belongs to the caller and stays until the await returns.
struct VolumeEncryption {
  /// Plain: as Nova has it, without a header. LUKS: the volume is larger by the header's size.
  std::variant<PlainParameters, LuksParameters> how;
  KeyView key;
};

/// What has just been done: for tests that make the next thing fail.
enum class VolumeStep : std::uint8_t { created, formatted, mapped, cleared, filled, named };

struct VolumeDiskRequest {
  std::string volume;      ///< its name
  std::uint64_t size = 0;  ///< bytes that a guest sees, at least; rounded up to whole extents
  platter::VolumeKind kind = platter::VolumeKind::linear;  ///< or thin
  std::string pool{};                                      ///< of a thin one
  std::optional<VolumeEncryption> encryption{};
  /// Writes the disk's contents onto the block device of that path, of which no more than the first
  /// `size` bytes need to be written: the others are zeroes already, unless the disk is encrypted.
  /// Nothing: all stays as it is.
  std::function<Task<void>(std::string device)> fill{};
  /// What a failed attempt had written is wiped like this.
  WipePolicy wipe{};
  const CancelToken* cancel = nullptr;
  std::function<Result<void>(VolumeStep)> after_step{};
};

struct VolumeDiskReport {
  std::string path;            ///< of the device that a guest gets
  std::uint64_t size = 0;      ///< of that device, in bytes
  bool overcommitted = false;  ///< the pool, or the group, could not hold all thin volumes in full
  bool removed_leftover = false;  ///< of an earlier attempt that was killed
};

/// One volume group's disks. While a disk is made, its volume is `<name>.partial`; it gets its name when
/// all is done and durable, so that what a kill leaves is never taken for a disk: the next create() of
/// that name removes it. The mapping of an encrypted one is `<name>-dmcrypt`.
///
/// REQUIRES of all: a ring; nobody else makes or removes a disk of that name meanwhile (the caller holds
/// its instance's lock). Errors: those of VolumeGroup and dm_crypt.h.
class VolumeDisks {
 public:
  explicit VolumeDisks(VolumeGroup group) : group_(std::move(group)) {}

  /// Whatever a failed call made is gone when it returns. What could not be removed is said in the
  /// error. Errors: already_exists (the disk: it stays as it is), no_space (told before anything is
  /// made), cancelled, those of `fill`.
  Task<VolumeDiskReport> create(VolumeDiskRequest request) const;

  /// Wipes and removes it, its mapping and what a killed create() left of it. False: there was none.
  /// A thin volume is not written to: a pool gives its blocks zeroed to others. Errors: in_use (and
  /// nothing has changed).
  Task<bool> remove(std::string volume, WipePolicy wipe, const CancelToken* cancel) const;

  /// Maps an encrypted disk again, after a restart. Errors: permission (the key).
  Task<std::string> map(std::string volume, VolumeEncryption encryption) const;

  /// Nothing: there is no such volume. Errors: not_found (the group itself).
  Task<std::optional<VolumeInfo>> find(std::string name) const;

  /// "<name>-dmcrypt"
  static std::string mapping_name(std::string_view volume);
  /// "/dev/mapper/<name>-dmcrypt"
  static std::string mapping_path(std::string_view volume);

 private:
  Task<VolumeDiskReport> make(const VolumeDiskRequest& request) const;
  Task<std::string> prepare_device(const VolumeDiskRequest& request, const VolumeInfo& made) const;
  Task<void> encrypt(const VolumeDiskRequest& request, const std::string& device) const;
  Task<bool> check_space(const VolumeDiskRequest& request, std::uint64_t volume_size) const;
  Task<bool> unmap(const std::string& volume) const;
  Task<bool> remove_volume(const std::string& name, WipePolicy wipe,
                           const CancelToken* cancel) const;

  VolumeGroup group_;
};

/// Of a block device, in bytes.
Task<std::uint64_t> size_of_device(std::string path);

}  // namespace platter::provision
