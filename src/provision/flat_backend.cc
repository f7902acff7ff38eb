#include "src/provision/flat_backend.h"

#include <algorithm>
#include <utility>

#include "io/bytes.h"
#include "io/new_file.h"
#include "src/ops/convert.h"
#include "src/ops/create.h"
#include "src/provision/image_files.h"

namespace platter::provision {

Result<std::unique_ptr<ImageBackend>> FlatBackend::open(Config config) {
  Result<Places> places = Places::make(config);
  if (!places) return fail(std::move(places.error()));
  return std::unique_ptr<ImageBackend>(new FlatBackend(std::move(config), *std::move(places)));
}

Result<std::unique_ptr<ImageBackend>> FlatBackend::look(Config config) {
  Result<Places> places = Places::look(config);
  if (!places) return fail(std::move(places.error()));
  return std::unique_ptr<ImageBackend>(new FlatBackend(std::move(config), *std::move(places)));
}

Task<void> FlatBackend::create_disk(DiskWork work) {
  const DiskRequest& request = work.request;
  if (!request.base || request.base->generated) {
    work.report.format = "raw";
    co_await generate(work);
    co_return;
  }
  // The base is held while it is copied.
  const HeldBase base =
      co_await bases().get(*request.base, work.ledger, request.progress, request.cancel);
  work.report.base_fetched = base.image.fetched;
  work.report.base = base.image.path;
  work.report.format = base.image.format;
  co_await verify_base_size(base.image.virtual_size, request.size, base.image.path);
  work.report.shares_blocks = co_await copy(base.image, work);
}

// The file as it is, whatever its format: bytes of a raw image.
Task<bool> FlatBackend::copy(const BaseImage& base, DiskWork work) {
  ConvertOptions options;
  options.sources.emplace_back(base.path);
  options.source_format = "raw";
  options.policy.lookup = lookup();
  options.target = work.report.path;
  options.target_lookup = options.policy.lookup;
  options.copy.cancel = work.request.cancel;
  options.copy.progress = work.request.progress;
  const ConvertResult result = co_await convert(std::move(options));
  co_return result.reflinked;
}

Task<void> FlatBackend::generate(DiskWork work) {
  const DiskRequest& request = work.request;
  TemplateSource* const source = request.base ? request.base->source : nullptr;
  if (source == nullptr) {
    if (!request.size) co_await fail(ErrorKind::invalid_argument, "An empty disk needs a size");
    CreateOptions options{.filename = work.report.path,
                          .size = align_up(*request.size, kSectorSize),
                          .cancel = request.cancel};
    options.lookup = lookup();
    co_await create_image(std::move(options));
    co_return;
  }
  const std::unique_ptr<NewFile> target = co_await NewFile::create(
      work.report.path, {.access = Access::read_write, .lookup = lookup()});
  const std::unique_ptr<DirectFile> file = target->take_file();
  FetchOptions options;
  options.limits.size_max = config().limits.disk_max;
  options.limits.digest = request.base->digest;
  options.progress = request.progress;
  options.cancel = request.cancel;
  const FetchResult fetched = co_await source->fetch(*file, std::move(options));
  co_await verify_base_size(fetched.size, request.size, source->name());
  const std::uint64_t size =
      align_up(std::max(fetched.size, request.size.value_or(0)), kSectorSize);
  co_await file->truncate(size);
  co_await target->publish(*file);
  co_await file->close();
}

Task<void> FlatBackend::restore_base(DiskWork) { co_return; }

void FlatBackend::plan_disk(const DiskRequest& request, const std::optional<BaseImage>& base,
                            DiskReport& report) const {
  report.format = base ? base->format : "raw";
  report.virtual_size = request.size.value_or(0);
  if (!base) return;
  report.virtual_size = std::max(report.virtual_size, base->virtual_size);
  report.base = base->path;
}

}  // namespace platter::provision
