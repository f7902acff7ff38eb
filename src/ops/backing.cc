#include "src/ops/backing.h"

#include <utility>

#include "formats/open.h"
#include "formats/reference.h"

namespace platter {

std::vector<FileId> files_of_chain(Image& image) {
  std::vector<FileId> ids;
  for (Image* layer = &image; layer != nullptr; layer = layer->backing()) {
    for (const File* file : {&layer->file(), static_cast<File*>(layer->data_file())}) {
      if (file == nullptr) continue;
      if (const auto id = file->id()) ids.push_back(*id);
    }
  }
  return ids;
}

Task<BackingImage> look_at_backing(std::string image_path, std::string name, std::string format,
                                   OpenPolicy policy) {
  std::string path = referenced_path(image_path, name);
  OpenOptions options{
      .purpose = OpenPurpose::read, .format = std::move(format), .force_share = true};
  const OpenedImage opened =
      co_await open_image(std::move(path), std::move(options), std::move(policy));
  Image& image = *opened.image;
  BackingImage backing{.format = std::string(image.format()),
                       .size = image.virtual_size(),
                       .files = files_of_chain(image)};
  co_await opened.image->close();
  co_return backing;
}

Image* find_backing_image(Image& image, const std::string& name) {
  for (Image* layer = &image; layer->backing() != nullptr; layer = layer->backing()) {
    if (means_file(layer->filename(), name, layer->backing()->filename())) return layer->backing();
  }
  return nullptr;
}

}  // namespace platter
