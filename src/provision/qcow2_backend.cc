#include "src/provision/qcow2_backend.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "src/ops/convert.h"
#include "src/ops/create.h"
#include "src/provision/image_files.h"

namespace platter::provision {
namespace {

// Of a backing file named `<base>_<GB>`, the size in bytes.
std::optional<std::uint64_t> resized_to(std::string_view backing, std::string_view base_path) {
  if (!backing.starts_with(base_path)) return std::nullopt;
  backing.remove_prefix(base_path.size());
  if (!backing.starts_with('_')) return std::nullopt;
  backing.remove_prefix(1);
  std::uint64_t gigabytes = 0;
  const char* const end = backing.data() + backing.size();
  const auto parsed = std::from_chars(backing.data(), end, gigabytes);
  constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max() / kGiB;
  if (parsed.ec != std::errc() || parsed.ptr != end || gigabytes > kMax) return std::nullopt;
  return gigabytes * kGiB;
}

}  // namespace

Result<std::unique_ptr<ImageBackend>> Qcow2Backend::open(Config config) {
  Result<Places> places = Places::make(config);
  if (!places) return fail(std::move(places.error()));
  return std::unique_ptr<ImageBackend>(new Qcow2Backend(std::move(config), *std::move(places)));
}

Result<std::unique_ptr<ImageBackend>> Qcow2Backend::look(Config config) {
  Result<Places> places = Places::look(config);
  if (!places) return fail(std::move(places.error()));
  return std::unique_ptr<ImageBackend>(new Qcow2Backend(std::move(config), *std::move(places)));
}

Task<void> Qcow2Backend::create_disk(DiskWork work) {
  const DiskRequest& request = work.request;
  work.report.format = "qcow2";
  if (!request.base) {
    if (!request.size) co_await fail(ErrorKind::invalid_argument, "An empty disk needs a size");
    co_await create_overlay(work, nullptr);
    co_return;
  }
  const HeldBase base =
      co_await bases().get(*request.base, work.ledger, request.progress, request.cancel);
  work.report.base_fetched = base.image.fetched;
  work.report.base = base.image.path;
  co_await verify_base_size(base.image.virtual_size, request.size, base.image.path);
  co_await create_overlay(work, &base.image);
}

// In one step: backing file, its format, size and cluster size are there from the start.
Task<void> Qcow2Backend::create_overlay(DiskWork work, const BaseImage* base) {
  CreateOptions options{.filename = work.report.path,
                        .format = "qcow2",
                        .size = work.request.size.value_or(0),
                        .cancel = work.request.cancel};
  options.lookup = lookup();
  std::optional<std::uint64_t> cluster_size = config().cluster_size;
  if (base != nullptr) {
    options.size = std::max(options.size, base->virtual_size);
    options.qcow2.backing_file = base->path;
    options.qcow2.backing_format = base->format;
    if (!cluster_size) cluster_size = base->cluster_size;
  }
  if (cluster_size) options.qcow2.cluster_size = *cluster_size;
  co_await create_image(std::move(options));
}

Task<void> Qcow2Backend::restore_base(DiskWork work) {
  const DiskRequest& request = work.request;
  if (!request.base || work.report.format != "qcow2") co_return;
  const std::string path = places().bases->path_of(request.base->name);
  const ImageInfo info = co_await look_at_image(work.report.path, "qcow2", lookup());
  if (!info.full_backing_file) co_return;
  const std::string& backing = *info.full_backing_file;
  const std::optional<std::uint64_t> resized = resized_to(backing, path);
  if (backing != path && !resized) co_return;  // it stands on something else
  const HeldBase base =
      co_await bases().get(*request.base, work.ledger, request.progress, request.cancel);
  work.report.base_fetched = base.image.fetched;
  work.report.base = base.image.path;
  if (!resized) co_return;
  const std::string name = backing.substr(backing.rfind('/') + 1);
  if (co_await places().bases->status(name)) co_return;
  co_await restore_resized(base.image, name, *resized, request.cancel);
}

// Under a name of its own until it is as large as its name says. REQUIRES: the base is held.
Task<void> Qcow2Backend::restore_resized(const BaseImage& base, std::string name,
                                         std::uint64_t size, const CancelToken* cancel) {
  const Folder& folder = *places().bases;
  const std::string part = name + ".part";
  co_await folder.remove_file(part);
  ConvertOptions options;
  options.sources.emplace_back(base.path);
  options.source_format = base.format;
  options.policy.lookup = lookup();
  options.target = folder.path_of(part);
  options.target_format = base.format;
  options.target_lookup = options.policy.lookup;
  options.copy.cancel = cancel;
  co_await convert(std::move(options));
  Result<bool> grown =
      co_await grow_image(folder.path_of(part), base.format, size, lookup(), cancel).result();
  if (grown) {
    co_await folder.rename(part, name);
    co_await folder.sync();
    co_return;
  }
  static_cast<void>(folder.remove_file(part));  // the first error counts
  co_await fail(std::move(grown.error()));
}

void Qcow2Backend::plan_disk(const DiskRequest& request, const std::optional<BaseImage>& base,
                             DiskReport& report) const {
  report.format = "qcow2";
  report.virtual_size = request.size.value_or(0);
  if (!base) return;
  report.virtual_size = std::max(report.virtual_size, base->virtual_size);
  report.base = base->path;
  report.backing_file = base->path;
  report.backing_format = base->format;
}

}  // namespace platter::provision
