// The image that a new one is to stand on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/image.h"
#include "formats/open_policy.h"
#include "io/file.h"
#include "io/task.h"

namespace platter {

/// What is known of it after its whole chain was opened (and closed again).
struct BackingImage {
  std::string format;         ///< as given, or as its content says
  std::uint64_t size = 0;     ///< guest bytes
  std::vector<FileId> files;  ///< of the chain, data files too
};

/// Opens `name` as an image at `image_path` would refer to it. An empty `format`: by content. Takes
/// no lock and heeds none: a guest may be writing to it. Errors: as open_image().
Task<BackingImage> look_at_backing(std::string image_path, std::string name, std::string format,
                                   OpenPolicy policy);

/// The files of an image and of its backing chain.
std::vector<FileId> files_of_chain(Image& image);

/// The first image of the backing chain below `image` that the name means, given in the place of the
/// backing file's name in the image above it (see means_file()); null where there is none.
Image* find_backing_image(Image& image, const std::string& name);

}  // namespace platter
