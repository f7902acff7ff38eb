// What a name is, and what direct I/O on it needs. Internal to io/.
#pragma once

#include <cstdint>
#include <string>

#include "io/direct_file.h"
#include "io/task.h"
#include "io/unique_fd.h"

namespace platter {

/// Opens `name` if it is a regular file or a block device, judged on an O_PATH descriptor that is
/// then reopened: what was looked at is what is opened.
Task<UniqueFd> open_checked(std::string name, const FileOptions& options);

/// A second descriptor for the same file, without O_DIRECT.
Result<UniqueFd> reopen_buffered(int fd, const std::string& name, Durability durability);

struct DirectAlignment {
  bool direct = false;
  std::uint32_t request = 1;  ///< for offsets and lengths, in bytes
  std::uint32_t memory = 1;   ///< for addresses, in bytes
};

/// Sets O_DIRECT on the descriptor if `cache` asks for it and the file can, and finds out the
/// alignment: STATX_DIOALIGN (Linux 6.1), BLKSSZGET, or trial reads. A file in memory is left as it
/// is, whatever `cache` asks for: nothing can be passed by there. Errors: unsupported.
Result<DirectAlignment> enable_direct(int fd, const std::string& name, CacheUse cache);

/// True for files of tmpfs and ramfs.
bool lives_in_memory(int fd) noexcept;

}  // namespace platter
