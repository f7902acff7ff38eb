#include "src/ops/target.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "formats/reference.h"

namespace platter {
namespace {

enum class NameUse : std::uint8_t { free, folder, other };

// A dangling link counts as free: what it points at is made.
Result<NameUse> use_of(const std::string& path, const PathLookup& lookup) {
  struct stat status{};
  if (lookup) {
    const Result<UniqueFd> found = lookup(path);
    if (!found && found.error().kind() == ErrorKind::not_found) return NameUse::free;
    if (!found) return fail(found.error().clone());
    if (::fstat(found->get(), &status) != 0) return fail_errno(errno, "stat", path);
  } else if (::stat(path.c_str(), &status) != 0) {
    return NameUse::free;
  }
  return S_ISDIR(status.st_mode) ? NameUse::folder : NameUse::other;
}

}  // namespace

Task<Target> open_target(std::string name, CacheUse cache, Durability durability,
                         PathLookup lookup) {
  std::string path = co_await plain_path(std::move(name));
  if (path.empty()) {
    co_return fail(ErrorKind::not_found, "Could not create '': No such file or directory");
  }
  Target target;
  FileOptions options{.access = Access::read_write,
                      .cache = cache,
                      .durability = durability,
                      .exclusive_device = true,
                      .lookup = std::move(lookup)};
  const NameUse use = co_await use_of(path, options.lookup);
  if (use == NameUse::free) {
    target.unpublished = co_await NewFile::create(path, options);
    target.file = target.unpublished->take_file();
    co_return target;
  }
  if (use == NameUse::folder) co_return fail_errno(EISDIR, "create", path);
  options.lock = ImageLockRequest{.used = ImageUse::write | ImageUse::resize,
                                  .unshared = ImageUse::write | ImageUse::resize};
  Result<std::unique_ptr<DirectFile>> opened = co_await DirectFile::open(path, options).result();
  // Words that fit the intent: the name was to be made, not just opened.
  if (!opened && opened.error().os_error() != 0) {
    co_return fail_errno(opened.error().os_error(), "create", path);
  }
  target.file = co_await std::move(opened);
  co_return target;
}

Task<void> clear_target(DirectFile& file, FileAttributes attributes) {
  if (file.traits().is_block_device) co_return;
  co_await file.truncate(0);
  co_await set_attributes(file.fd(), attributes, file.name());
}

Task<void> complete_target(NewFile* unpublished, DirectFile& file) {
  if (unpublished != nullptr) {
    co_await unpublished->publish(file);
  } else {
    co_await file.flush();
  }
}

}  // namespace platter
