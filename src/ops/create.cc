#include "src/ops/create.h"

#include <utility>

#include "formats/raw/raw_create.h"
#include "src/ops/target.h"

namespace platter {

Task<void> create_image(CreateOptions options) {
  Target target =
      co_await open_target(options.filename, CacheUse::direct_if_possible, Durability::on_flush);
  DirectFile& file = *target.file;
  co_await clear_target(file, options.attributes);
  const ResizeOptions layout{.preallocation = options.preallocation, .cancel = options.cancel};
  co_await create_raw(file, options.size, layout);
  co_await complete_target(target.unpublished.get(), file);
  co_await file.close();
}

}  // namespace platter
