// A folder that is held open, and what lies below it: no name, link or race leads out.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"
#include "io/path_lookup.h"
#include "io/task.h"
#include "io/unique_fd.h"

namespace platter::provision {

/// Everything below is opened by openat2() with RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and
/// RESOLVE_NO_MAGICLINKS, starting at the descriptor. Where the kernel has no openat2(), or a filter
/// forbids it, nothing is opened (unsupported).
///
/// Names are of one part: no '/', not "." or "..". Any thread, one at a time. Errors everywhere:
/// not_found, permission, io, and refused_by_policy for a link; each names the path.
class Folder {
 public:
  /// Links in this path are followed: it is the caller's own choice.
  static Result<Folder> open(std::string path);

  /// As it was given, or made of it.
  const std::string& path() const noexcept { return path_; }
  int fd() const noexcept { return fd_.get(); }
  std::string path_of(std::string_view name) const;

  Result<Folder> folder(const std::string& name) const;
  /// The same; it is made (mode 0755 less the umask) if it is missing.
  Result<Folder> make_folder(const std::string& name) const;
  /// `flags`: those of open(), without O_PATH; O_CLOEXEC is added. What is no regular file is refused
  /// without being waited for (wrong_type).
  Result<UniqueFd> open_file(const std::string& name, int flags, mode_t mode = 0) const;

  /// Gives what root made here to whom the folder belongs, so that a service without root's rights can
  /// go on with it. Nothing happens for other users.
  Result<void> hand_over(int fd, const std::string& name) const;

  /// Of the name itself, whatever it is; nothing if there is none.
  Result<std::optional<struct stat>> status(const std::string& name) const;
  /// Everything but "." and "..", in no order.
  Result<std::vector<std::string>> names() const;

  /// Replaces what `to` was.
  Result<void> rename(const std::string& from, const std::string& to) const;
  /// False if there was none.
  Result<bool> remove_file(const std::string& name) const;
  /// False if there was none, or it is not empty.
  Result<bool> remove_folder(const std::string& name) const;

  /// Changes of names are durable then. REQUIRES: a ring.
  Task<void> sync() const;

  /// Finds paths below path(), and no others (refused_by_policy). It refers to this folder.
  PathLookup lookup() const;

 private:
  Folder(UniqueFd fd, std::string path) noexcept;
  std::unexpected<Error> no_name(const std::string& name) const;
  Result<UniqueFd> open_below(const std::string& name, int flags, mode_t mode) const;

  UniqueFd fd_;
  std::string path_;
};

}  // namespace platter::provision
