#include "src/provision/file_backend.h"

#include <sys/stat.h>

#include <utility>

#include <fmt/format.h>

#include "formats/open.h"
#include "src/provision/disk_info.h"
#include "src/provision/image_files.h"
#include "src/provision/instance_lock.h"

namespace platter::provision {
namespace {

// Whether there is a disk of this name. Errors: wrong_type (something else).
Result<bool> has_disk(const Folder& folder, const std::string& name) {
  const auto status = folder.status(name);
  if (!status) return fail(status.error().clone());
  if (!*status) return false;
  if (S_ISREG((*status)->st_mode)) return true;
  const bool link = S_ISLNK((*status)->st_mode);
  return fail(link ? ErrorKind::refused_by_policy : ErrorKind::wrong_type,
              fmt::format("'{}' is {}, not a disk", folder.path_of(name),
                          link ? "a symbolic link" : "no regular file"));
}

}  // namespace

FileBackend::FileBackend(Config config, Places places)
    : config_(std::move(config)), places_(std::move(places)) {}

Result<std::string> FileBackend::path_of(const DiskName& name) const {
  return places_.root.path_of(name.instance + "/" + name.disk);
}

Result<Folder> FileBackend::instance_folder(const DiskName& name) const {
  Result<Folder> folder = places_.root.folder(name.instance);
  if (folder || folder.error().kind() != ErrorKind::not_found) return folder;
  return no_such_disk(places_.root.path_of(name.instance + "/" + name.disk));
}

Task<bool> FileBackend::exists(DiskName name) {
  const Result<Folder> folder = instance_folder(name);
  if (!folder && folder.error().kind() == ErrorKind::not_found) co_return false;
  if (!folder) co_return fail(folder.error().clone());
  co_return has_disk(*folder, name.disk);
}

Task<std::string> FileBackend::recorded_format(const Folder& folder, std::string path) const {
  const auto recorded = co_await DiskInfo(folder).format_of(path);
  if (!recorded || *recorded == "raw" || *recorded == "qcow2") co_return recorded.value_or("");
  co_return fail(ErrorKind::unknown_format,
                 fmt::format("'{}' says that '{}' has format '{}'", folder.path_of(DiskInfo::kName),
                             path, *recorded));
}

// REQUIRES: the instance's lock is held.
Task<std::string> FileBackend::format_in(const Folder& folder, std::string path) const {
  std::string format = co_await recorded_format(folder, path);
  if (!format.empty()) co_return format;
  format = co_await detect_format(path, lookup());
  co_await DiskInfo(folder).record(path, format);
  co_return format;
}

Task<DiskReport> FileBackend::provision(DiskRequest request) {
  DiskReport report{.path = co_await path_of(request.name)};
  LockLedger ledger;
  const auto lock = co_await lock_instance(places_, config_, request.name, ledger, request.cancel);
  const std::string& instance = request.name.instance;
  const bool had_folder = (co_await places_.root.status(instance)).has_value();
  Result<void> done = fail(ErrorKind::io, "");
  {
    const Folder folder = co_await places_.root.make_folder(instance);
    const DiskWork work{.request = request, .ledger = ledger, .report = report};
    done = co_await provision_in(folder, work).result();
  }
  if (done) co_return report;
  // Goes only if it is empty. The first error counts.
  if (!had_folder) static_cast<void>(places_.root.remove_folder(instance));
  co_return fail(std::move(done.error()));
}

Task<void> FileBackend::provision_in(const Folder& folder, DiskWork work) {
  const DiskRequest& request = work.request;
  if (!co_await has_disk(folder, request.name.disk)) {
    co_await create_in(folder, work);
    co_return;
  }
  if (request.must_be_new) {
    co_await fail(ErrorKind::already_exists, fmt::format("'{}' exists already", work.report.path));
  }
  co_await keep_existing(folder, work);
}

Task<void> FileBackend::create_in(const Folder& folder, DiskWork work) {
  // What is said of a disk that is gone does not hold for the next one.
  const DiskInfo info(folder);
  co_await info.forget(work.report.path);
  co_await create_disk(work);
  work.report.created = true;
  Result<void> completed = co_await complete(folder, work).result();
  if (completed) co_return;
  static_cast<void>(folder.remove_file(work.request.name.disk));
  static_cast<void>(co_await info.forget(work.report.path).result());
  co_await fail(std::move(completed.error()));
}

Task<void> FileBackend::complete(const Folder& folder, DiskWork work) {
  DiskReport& report = work.report;
  co_await DiskInfo(folder).record(report.path, report.format);
  ImageInfo info = co_await look_at_image(report.path, report.format, lookup());
  if (info.virtual_size < work.request.size.value_or(0)) {
    co_await grow_image(report.path, report.format, *work.request.size, lookup(),
                        work.request.cancel);
    info = co_await look_at_image(report.path, report.format, lookup());
    report.grown = !report.created;
  }
  report.virtual_size = info.virtual_size;
  report.backing_file = info.backing_file;
  report.backing_format = info.backing_format;
  if (config_.preallocate) co_await reserve_space(report.path, info.virtual_size, lookup());
}

Task<void> FileBackend::keep_existing(const Folder& folder, DiskWork work) {
  work.report.format = co_await format_in(folder, work.report.path);
  co_await restore_base(work);
  co_await complete(folder, work);
}

Task<DiskReport> FileBackend::plan(DiskRequest request) {
  DiskReport report{.path = co_await path_of(request.name)};
  std::optional<BaseImage> base;
  if (request.base) base = co_await bases_.look(request.base->name);
  if (!co_await exists(request.name)) {
    report.created = true;
    report.base_fetched = request.base && !base;
    if (base) co_await verify_base_size(base->virtual_size, request.size, base->path);
    plan_disk(request, base, report);
    co_return report;
  }
  if (request.must_be_new) {
    co_return fail(ErrorKind::already_exists, fmt::format("'{}' exists already", report.path));
  }
  const Folder folder = co_await instance_folder(request.name);
  report.format = co_await recorded_format(folder, report.path);
  if (report.format.empty()) report.format = co_await detect_format(report.path, lookup());
  const ImageInfo info = co_await look_at_image(report.path, report.format, lookup());
  report.grown = request.size.value_or(0) > info.virtual_size;
  report.virtual_size = std::max(request.size.value_or(0), info.virtual_size);
  report.backing_file = info.backing_file;
  report.backing_format = info.backing_format;
  co_return report;
}

Task<bool> FileBackend::grow(DiskName name, std::uint64_t size) {
  LockLedger ledger;
  const auto lock = co_await lock_instance(places_, config_, name, ledger, nullptr);
  const Folder folder = co_await instance_folder(name);
  const std::string path = co_await path_of(name);
  if (!co_await has_disk(folder, name.disk)) co_return no_such_disk(path);
  const std::string format = co_await format_in(folder, path);
  co_return co_await grow_image(path, format, size, lookup(), nullptr);
}

Task<std::uint64_t> FileBackend::disk_size(DiskName name) {
  const std::string format = co_await resolve_format(name);
  const std::string path = co_await path_of(name);
  const ImageInfo info = co_await look_at_image(path, format, lookup());
  co_return info.virtual_size;
}

Task<std::string> FileBackend::resolve_format(DiskName name) {
  const Folder folder = co_await instance_folder(name);
  const std::string path = co_await path_of(name);
  if (!co_await has_disk(folder, name.disk)) co_return no_such_disk(path);
  const std::string recorded = co_await recorded_format(folder, path);
  if (!recorded.empty()) co_return recorded;
  LockLedger ledger;
  const auto lock = co_await lock_instance(places_, config_, name, ledger, nullptr);
  co_return co_await format_in(folder, path);
}

Task<void> FileBackend::extract(ExtractRequest request) {
  const std::string format = co_await resolve_format(request.name);
  const std::string path = co_await path_of(request.name);
  co_await extract_image(path, format, policy_below(lookup()), std::move(request));
}

// Whoever uses it holds locks that do not allow this.
Task<void> FileBackend::check_unused(std::string path, std::string format) const {
  OpenOptions open{.purpose = OpenPurpose::write_whole, .format = std::move(format)};
  open.without_backing = true;
  const OpenedFile opened = co_await open_image_file(std::move(path), open, policy_below(lookup()));
  co_await opened.file->close();
}

Task<bool> FileBackend::remove(DiskName name, const CancelToken* cancel) {
  const Result<Folder> folder = instance_folder(name);
  if (!folder && folder.error().kind() == ErrorKind::not_found) co_return false;
  if (!folder) co_return fail(folder.error().clone());
  LockLedger ledger;
  const auto lock = co_await lock_instance(places_, config_, name, ledger, cancel);
  const std::string path = co_await path_of(name);
  const bool there = co_await has_disk(*folder, name.disk);
  if (there) {
    co_await check_unused(path, co_await recorded_format(*folder, path));
    co_await folder->remove_file(name.disk);
    co_await folder->sync();
  }
  // A disk without what is said of it is a smaller fault than the reverse: it is looked at again.
  co_await DiskInfo(*folder).forget(path);
  co_await places_.root.remove_folder(name.instance);
  co_return there;
}

}  // namespace platter::provision
