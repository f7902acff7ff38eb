#include "src/ops/create.h"

#include "formats/raw/raw_create.h"
#include "src/ops/luks_target.h"
#include "src/ops/qcow2_target.h"
#include "src/ops/target.h"

namespace platter {
namespace {

Task<void> create_raw_image(const CreateOptions& options) {
  Target target = co_await open_target(options.filename, CacheUse::direct_if_possible,
                                       Durability::on_flush, options.lookup);
  DirectFile& file = *target.file;
  co_await clear_target(file, options.attributes);
  const ResizeOptions layout{.preallocation = options.preallocation, .cancel = options.cancel};
  co_await create_raw(file, options.size, layout);
  co_await complete_target(target.unpublished.get(), file);
  co_await file.close();
}

}  // namespace

Task<void> create_image(CreateOptions options) {
  if (options.format == "raw") {
    co_await create_raw_image(options);
    co_return;
  }
  if (options.format == "luks") {
    LuksTarget target(options, CacheUse::direct_if_possible, Durability::on_flush);
    co_await target.begin();
    co_await target.complete();
    co_await target.close();
    co_return;
  }
  if (options.format != "qcow2") {
    co_await fail(ErrorKind::unknown_format, "Unknown file format '" + options.format + "'");
  }
  Qcow2Target target(options, CacheUse::direct_if_possible, Durability::on_flush);
  co_await target.begin();
  co_await target.complete();
  co_await target.close();
}

}  // namespace platter
