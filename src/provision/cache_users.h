// Which base images the disks of instances stand on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "io/cancel.h"
#include "io/task.h"
#include "src/provision/places.h"

namespace platter::provision {

struct CacheUsers {
  struct Users {
    std::uint64_t count = 0;
    std::vector<std::string> paths;  ///< of disks: the first kPathsMax
  };
  static constexpr std::size_t kPathsMax = 16;

  std::map<std::string, Users, std::less<>> by_base;  ///< by the base's name
  std::uint64_t disk_count = 0;                       ///< files that were looked at
  /// What could not be looked at, and why: what it stands on is not known. The first kPathsMax.
  std::vector<std::string> unreadable;
};

/// Looks at every file beside the folder of bases and in the folders there, at whatever depth (an
/// instance's may be called "<uuid>_resize", a snapshot lies in a folder of its own for a while), at the
/// headers of qcow2 images alone. Takes no lock, follows no link: a link is unreadable. A backing file counts by the last part of its name, wherever it says it lies: rather
/// too many bases are in use than one too few.
/// `bases`: their names. Errors: those of the folder of instances; cancelled.
Task<CacheUsers> scan_cache_users(const Places& places, std::string base_folder,
                                  std::vector<std::string> bases, const CancelToken* cancel);

}  // namespace platter::provision
