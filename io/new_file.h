// A file that exists under its name only once it is complete.
#pragma once

#include <memory>
#include <string>

#include "io/direct_file.h"
#include "io/task.h"
#include "io/unique_fd.h"

namespace platter {

/// Made without a name (O_TMPFILE), so that a crash, a kill or an error leaves nothing behind;
/// publish() gives it the name. Where the filesystem lacks O_TMPFILE: a hidden, locked name in the
/// same folder; what a killed process left of those is removed by the next one that makes a file
/// of the same name.
///
/// Belongs to its ring's thread. Destroyed without publish(): nothing remains.
class NewFile {
 public:
  /// Looks up the folder of `path` (following a dangling link to where it points) and makes the
  /// file there, empty, mode 0644 less the umask. With a lookup, no link is followed.
  /// Errors: already_exists, not_found (the folder), permission, read_only, no_space.
  static Task<std::unique_ptr<NewFile>> create(std::string path, FileOptions options);

  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  /// Hands over the file, once, for writing.
  std::unique_ptr<DirectFile> take_file() { return std::move(file_); }

  /// Flushes the file that was taken, gives it its name and makes the name durable. With
  /// Durability::never it does not wait for the device. The file stays open.
  /// Errors: already_exists (someone made the name meanwhile: theirs stays), and flush()'s.
  Task<void> publish(DirectFile& file);
  /// Takes the name back after publish(), where it still leads to the file: for what is whole only
  /// together with something else.
  void withdraw(const DirectFile& file) const noexcept;

  /// True if both are to get the same name.
  bool same_name_as(const NewFile& other) const noexcept;

 private:
  NewFile(UniqueFd folder, std::string name, std::string path);
  Result<UniqueFd> open_unnamed(const FileOptions& options);
  Result<UniqueFd> open_hidden(const FileOptions& options);
  Result<void> link(int fd) const;

  UniqueFd folder_;
  std::string name_;    // within the folder
  std::string path_;    // as the caller gave it
  std::string hidden_;  // the temporary name, or empty
  bool durable_ = true;
  std::unique_ptr<DirectFile> file_;
};

}  // namespace platter
