// Creating empty images.
#pragma once

#include <cstdint>
#include <string>

#include "formats/image.h"
#include "io/cancel.h"
#include "io/file_attributes.h"
#include "io/task.h"

namespace platter {

struct CreateOptions {
  std::string filename;
  std::string format = "raw";
  std::uint64_t size = 0;  ///< bytes
  Preallocation preallocation = Preallocation::off;
  FileAttributes attributes;
  const CancelToken* cancel = nullptr;
};

/// Whole or absent where the name is free; made anew in place where it exists.
/// Errors carry no context; those of the file name it.
Task<void> create_image(CreateOptions options);

}  // namespace platter
