#include "src/ops/commit.h"

#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/qcow2_image.h"
#include "io/check.h"
#include "io/direct_file.h"
#include "io/image_lock.h"
#include "src/ops/backing.h"
#include "src/ops/layers_above.h"

namespace platter {
namespace {

Result<Image*> find_base(Image& overlay, const std::optional<std::string>& name) {
  Image* const base = name ? find_backing_image(overlay, *name) : overlay.backing();
  if (base != nullptr) return base;
  if (!name) return fail(ErrorKind::invalid_argument, "Image does not have a backing file");
  return fail(ErrorKind::not_found, fmt::format("Did not find '{}' in the backing chain of '{}'",
                                                *name, overlay.filename()));
}

// What the base holds itself, and what the overlay leaves to it, is not touched.
Task<CopyStats> copy_layers(Image& overlay, Image& base, const CommitOptions& options) {
  LayersAbove layers(overlay, base);
  CopyOptions copy{.target_backing_size = base.virtual_size(),
                   .rate_limit = options.rate_limit,
                   .cancel = options.cancel,
                   .progress = options.progress};
  co_return co_await copy_image(layers, base, std::move(copy));
}

// Images between the two are about to become something else: meanwhile nobody else is to read them.
Task<void> lock_between(Image& overlay, const Image& base) {
  using enum ImageUse;
  const ImageLockRequest alone{.used = consistent_read,
                               .unshared = consistent_read | write | resize};
  for (Image* layer = overlay.backing(); layer != &base; layer = layer->backing()) {
    auto* const file = dynamic_cast<DirectFile*>(&layer->file());
    if (file != nullptr) co_await file->lock(alone);
  }
}

}  // namespace

Task<CopyStats> commit(Image& overlay, CommitOptions options) {
  Image* const base = co_await find_base(overlay, options.base);
  PLATTER_CHECK(!options.empty || base == overlay.backing());
  co_await lock_between(overlay, *base);
  if (overlay.virtual_size() > base->virtual_size()) {
    co_await base->resize(overlay.virtual_size(), {.cancel = options.cancel});
  }
  CopyStats stats = co_await copy_layers(overlay, *base, options);
  // Only when it is on the disk may the overlay lose it.
  co_await base->finish();
  auto* const qcow2 = dynamic_cast<qcow2::Qcow2Image*>(&overlay);
  if (options.empty && qcow2 != nullptr) co_await qcow2->make_empty(options.cancel);
  co_return stats;
}

}  // namespace platter
