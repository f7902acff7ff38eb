// The folders that a configuration names, held open.
#pragma once

#include <optional>

#include "io/error.h"
#include "src/provision/config.h"
#include "src/provision/folder.h"

namespace platter::provision {

/// `<instances>`, and below it the folders of bases and of locks. Stays in place once lookups of it are
/// in use.
struct Places {
  Folder root;
  std::optional<Folder> bases;
  std::optional<Folder> locks;

  /// Makes what is missing below the folder of instances, which must be there. Errors: not_found, and
  /// those of Folder.
  static Result<Places> make(const Config& config);
  /// Changes nothing: what is missing is nothing.
  static Result<Places> look(const Config& config);
};

}  // namespace platter::provision
