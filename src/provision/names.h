// The names that disks, base images, locks and volumes have, and what may be in them.
#pragma once

#include <string>
#include <string_view>

#include "io/error.h"

namespace platter::provision {

/// One disk of one instance. Made by parse() only: both parts are then safe as names of files.
struct DiskName {
  std::string instance;  ///< a UUID: 8-4-4-4-12 lower-case hexadecimal digits
  std::string disk;      ///< "disk", "disk.eph0", ...: [A-Za-z0-9_.-], not starting with '.' or '-'

  /// Errors: invalid_argument.
  static Result<DiskName> parse(std::string_view instance, std::string_view disk);
  bool operator==(const DiskName&) const = default;
};

/// A UUID in its usual form. Errors: invalid_argument.
Result<void> check_instance(std::string_view uuid);
/// The name of a disk, of a base image or of a folder: up to 128 of the characters of DiskName::disk.
/// Errors: invalid_argument; `what` is how the message calls it.
Result<void> check_file_name(std::string_view name, std::string_view what);
/// The name of a volume group, by LVM's rules. Errors: invalid_argument.
Result<void> check_volume_group(std::string_view name);

/// The base image's file: the SHA-1 of the image's id, 40 lower-case hexadecimal digits. An id is any
/// text of 1 to 1024 bytes without control characters. Errors: invalid_argument, unsupported (OpenSSL
/// has no SHA-1 here).
Result<std::string> base_name_of(std::string_view image_id);

/// The lock file of a base image, in the folder of locks. REQUIRES: check_file_name().
std::string base_lock_name(std::string_view base);
/// The same of an instance: who makes, changes or removes its disks holds it.
std::string instance_lock_name(std::string_view instance);

/// The logical volume of a disk: each '_' of the disk's name doubled. REQUIRES: the name was parsed.
/// Errors: invalid_argument (longer than LVM takes).
Result<std::string> volume_name(const DiskName& disk);

}  // namespace platter::provision
