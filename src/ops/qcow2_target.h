// A qcow2 image, and its data file, on their way into the world.
#pragma once

#include <memory>

#include "formats/image.h"
#include "formats/qcow2/create.h"
#include "formats/qcow2/qcow2_image.h"
#include "io/direct_file.h"
#include "io/task.h"
#include "src/ops/create.h"
#include "src/ops/target.h"

namespace platter {

/// begin(), then perhaps open(), then complete(). Until then a new file has no name, and what was
/// under an existing name is no image. Destroyed before: a new file is gone.
class Qcow2Target {
 public:
  Qcow2Target(const CreateOptions& options, CacheUse cache, Durability durability)
      : options_(options), cache_(cache), durability_(durability) {}

  /// Opens the files and writes an empty image. Nothing is touched before the options are known to
  /// be possible. Errors: as create_image().
  Task<void> begin();

  /// Hands the files over to the image, to be filled. Once. `backing`: what it stands on.
  Task<std::unique_ptr<qcow2::Qcow2Image>> open(std::unique_ptr<Image> backing);

  /// All that was written is durable, and the image is one. The files stay open.
  Task<void> complete();
  /// Where open() was not called.
  Task<void> close();

 private:
  Result<qcow2::CreatePlan> make_plan() const;
  Task<Target> open_new(std::string name, std::vector<FileId> others) const;
  Task<void> open_data_file();
  Task<void> set_magic(std::uint32_t magic);

  const CreateOptions& options_;
  CacheUse cache_;
  Durability durability_;
  Target image_;
  Target data_;
  DirectFile* image_file_ = nullptr;  // also when it belongs to the open image
  DirectFile* data_file_ = nullptr;
  bool hidden_ = false;  // its magic is not there yet
};

}  // namespace platter
