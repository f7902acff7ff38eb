// A LUKS image on its way into the world.
#pragma once

#include <memory>
#include <optional>

#include "formats/luks/luks1_header.h"
#include "formats/luks/luks_image.h"
#include "io/direct_file.h"
#include "io/task.h"
#include "src/ops/create.h"
#include "src/ops/target.h"

namespace platter {

/// begin(), then perhaps open(), then complete(). Until then a new file has no name; what was under an
/// existing name has lost its header, and gets the new one when it is whole.
class LuksTarget {
 public:
  LuksTarget(const CreateOptions& options, CacheUse cache, Durability durability)
      : options_(options), cache_(cache), durability_(durability) {}

  /// Opens the file, and writes a header with a key of its own. Nothing is touched before the options are
  /// known to be possible. Errors: as create_image().
  Task<void> begin();
  /// Hands the file over to the image, to be filled. Once.
  Task<std::unique_ptr<luks::LuksImage>> open();
  /// All that was written is durable, and the image is one. The file stays open.
  Task<void> complete();
  /// Where open() was not called.
  Task<void> close();

 private:
  Task<void> lay_out(const luks::Luks1Header& header);
  Task<void> set_magic(bool there);

  const CreateOptions& options_;
  CacheUse cache_;
  Durability durability_;
  Target target_;
  DirectFile* file_ = nullptr;  // also when it belongs to the open image
  std::optional<luks::Luks1Header> header_;
  Secret key_;
  bool hidden_ = false;  // the magic is not there yet
};

}  // namespace platter
