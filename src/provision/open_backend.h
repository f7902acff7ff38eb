// The backend that a configuration names.
#pragma once

#include <memory>

#include "src/provision/config.h"
#include "src/provision/image_backend.h"

namespace platter::provision {

enum class BackendUse : std::uint8_t {
  work,  ///< folders that are missing are made
  look,  ///< nothing is changed: for ImageBackend::plan() and what else only looks
};

/// Errors: invalid_argument (see check()), not_found (the folder of instances), unsupported (lvm: see
/// LvmBackend), and those of Folder.
Result<std::unique_ptr<ImageBackend>> open_backend(Config config, BackendUse use);

}  // namespace platter::provision
