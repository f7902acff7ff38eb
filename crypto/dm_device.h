// Devices of the kernel's device-mapper, through libdevmapper.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "io/error.h"
#include "io/task.h"

namespace platter {

/// One row of a device's table. Sectors are of 512 bytes, whatever the devices have.
struct DmTarget {
  std::uint64_t start_sector = 0;
  std::uint64_t sector_count = 0;
  std::string type;        ///< "linear", "error", ...
  std::string parameters;  ///< as the kernel's documentation of the target has them
};

struct DmDeviceInfo {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t open_count = 0;
  bool suspended = false;
  bool read_only = false;
  bool removal_pending = false;  ///< goes with its last user
  std::string uuid;
};

struct NewDmDevice {
  std::string name;
  std::string uuid{};  ///< may be empty
  std::vector<DmTarget> table;
  bool read_only = false;
};

enum class DmRemoval : std::uint8_t {
  now,       ///< in_use while anybody has it open: also for some time after a DirectFile's close(),
             ///< because the kernel lets go of a file that a ring had registered a little later
  retried,   ///< tried for 5 seconds: udev and others open a device for a moment
  deferred,  ///< at once, or when its last user closes it
};

/// Errors of all: invalid_argument (a name that can't be one), permission, unsupported (this kernel has
/// no device-mapper, or lacks a target); the rest as the kernel says, with libdevmapper's text.
/// REQUIRES: a ring. Names are as in /dev/mapper.

/// Makes the device, active, and waits until /dev/mapper/NAME is there. A table that holds a key is
/// wiped by the kernel and by libdevmapper once it is read. Errors: already_exists.
Task<void> dm_create(NewDmDevice device);
/// Puts another table in place of the device's, between two requests. Errors: not_found.
Task<void> dm_replace_table(std::string name, std::vector<DmTarget> table);
/// Sends a message to the target at a sector.
Task<void> dm_message(std::string name, std::uint64_t sector, std::string message);
/// Errors: not_found, in_use.
Task<void> dm_remove(std::string name, DmRemoval removal);

/// Nothing if there is no such device.
Task<std::optional<DmDeviceInfo>> dm_info(std::string name);
/// What the targets tell of themselves, in `parameters`. Errors: not_found.
Task<std::vector<DmTarget>> dm_status(std::string name);
/// All names, in the kernel's order.
Task<std::vector<std::string>> dm_list();

/// Has the kernel load the module of a target if need be, by its own means: no process of ours is
/// started. Errors: unsupported.
Task<void> dm_require_target(std::string type);

}  // namespace platter
