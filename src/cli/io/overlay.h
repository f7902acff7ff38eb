// An image over another one that takes all writes and leaves nothing behind.
#pragma once

#include <memory>
#include <string>

#include "formats/image.h"
#include "io/task.h"
#include "src/ops/create.h"

namespace platter {
class Qcow2Target;
}

namespace platter::cli {

/// What an overlay needs while it is in use: a file that has no name, in a folder of its own below
/// $TMPDIR (default: /var/tmp). Movable; empty where there is no overlay.
class Overlay {
 public:
  Overlay() noexcept;
  Overlay(Overlay&&) noexcept;
  Overlay& operator=(Overlay&&) noexcept;
  ~Overlay();

  /// An empty image over `base`, which is kept open below it. The image goes before the overlay.
  /// Errors: as create_image().
  Task<std::unique_ptr<Image>> open(std::unique_ptr<Image> base);

 private:
  std::string folder_;
  std::unique_ptr<CreateOptions> options_;  // the target refers to it
  std::unique_ptr<Qcow2Target> target_;
};

}  // namespace platter::cli
