// The file that an operation makes into an image.
#pragma once

#include <memory>
#include <string>

#include "io/direct_file.h"
#include "io/file_attributes.h"
#include "io/new_file.h"
#include "io/task.h"

namespace platter {

/// A file to be filled: one that gets its name once it is complete, or one that is there and is
/// locked against other users. Nothing has been changed yet.
struct Target {
  std::unique_ptr<NewFile> unpublished;  ///< null: the file exists already
  std::unique_ptr<DirectFile> file;      ///< to be taken by the image that is made of it
};

/// Errors say "Could not create": not_found (the folder), permission, wrong_type, in_use, ...
/// `lookup`: how the name is looked up.
Task<Target> open_target(std::string name, CacheUse cache, Durability durability,
                         PathLookup lookup = {});

/// Empties a regular file (a block device stays as it is) and sets its attributes.
Task<void> clear_target(DirectFile& file, FileAttributes attributes);

/// Makes what was written durable and, for a new file, gives it its name.
Task<void> complete_target(NewFile* unpublished, DirectFile& file);

}  // namespace platter
