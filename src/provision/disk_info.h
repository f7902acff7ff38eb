// The formats of an instance's disks, as they were when the disks were made: the file "disk.info".
#pragma once

#include <optional>
#include <string>

#include "io/error.h"
#include "io/task.h"
#include "src/provision/folder.h"

namespace platter::provision {

/// One JSON object beside the disks, {"<path of a disk>": "<format>", ...}. A guest can write another
/// format's header into its raw disk: what was recorded is believed, not what the disk looks like.
///
/// Changes are made under the instance's lock. Errors, everywhere: corrupt_image (the file is no such
/// object, or too large), and those of Folder.
class DiskInfo {
 public:
  static constexpr const char* kName = "disk.info";

  /// `instance`: the folder of the disks; outlives this.
  explicit DiskInfo(const Folder& instance) : instance_(instance) {}

  /// Nothing: none was recorded.
  Result<std::optional<std::string>> format_of(const std::string& disk_path) const;

  /// Durable when it returns; the file has mode 0644. Recording the same again changes nothing.
  /// Errors: already_exists (another one was recorded: it stays), invalid_argument (no UTF-8).
  Task<void> record(std::string disk_path, std::string format) const;

  /// Takes the entry out; without entries the file goes. Nothing happens if there is none.
  Task<void> forget(std::string disk_path) const;

 private:
  const Folder& instance_;
};

}  // namespace platter::provision
