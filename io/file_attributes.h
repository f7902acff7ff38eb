// Hints to the filesystem about a new, empty file.
#pragma once

#include <cstdint>
#include <optional>

#include "io/error.h"

namespace platter {

struct FileAttributes {
  /// No copy-on-write (Btrfs; elsewhere it has no meaning and is passed over).
  bool no_cow = false;
  /// Space is allocated in steps of this many bytes (XFS; elsewhere passed over). 0: off.
  std::optional<std::uint64_t> extent_size_hint;
};

/// REQUIRES: the file is empty. Errors: io, permission; never for a filesystem that lacks it.
Result<void> set_attributes(int fd, const FileAttributes& attributes, std::string_view path);

}  // namespace platter
