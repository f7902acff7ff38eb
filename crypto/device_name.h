// Names of volumes and mappings: checked by what they may consist of, before they get anywhere near a
// command line, a table or a path.
#pragma once

#include <string>
#include <string_view>

#include "io/error.h"

namespace platter {

/// A volume group's or logical volume's name, as LVM allows it: letters, digits and "+_.-", not "."
/// or "..", no "-" at the start, at most 127 bytes. (What LVM reserves for itself, it refuses itself.)
/// `what` is for the message: "volume group". Errors: invalid_argument.
Result<void> check_volume_name(std::string_view what, std::string_view name);

/// A device-mapper name: letters, digits and "#+-.:=@_", not "." or "..", not "control" (which is
/// not a device), at most 127 bytes. Errors: invalid_argument.
Result<void> check_mapping_name(std::string_view name);

/// A path to hand to a library: absolute, without a byte 0. Errors: invalid_argument.
Result<void> check_device_path(std::string_view path);

/// What device-mapper calls a logical volume: "group-volume", with each "-" of either doubled.
std::string mapping_of_volume(std::string_view group, std::string_view volume);

/// "/dev/group/volume"
std::string path_of_volume(std::string_view group, std::string_view volume);

}  // namespace platter
