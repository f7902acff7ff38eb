#include "src/provision/base_cache.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include <fmt/format.h>

#include "src/provision/base_fetch.h"
#include "src/provision/image_files.h"

namespace platter::provision {
namespace {

// Many disks made of one base at once need not write its time each.
constexpr std::int64_t kTouchInterval_s = 2;

std::int64_t nanoseconds(const timespec& time) {
  return (std::int64_t{time.tv_sec} * 1'000'000'000) + time.tv_nsec;
}

Result<void> check_base_name(const std::string& name) {
  if (Result<void> fits = check_file_name(name, "base"); !fits) return fits;
  if (!is_partial_base(name)) return {};
  return fail(ErrorKind::invalid_argument,
              fmt::format("'{}' is no name of a base: its ending is that of a partial one", name));
}

}  // namespace

bool is_partial_base(std::string_view name) noexcept {
  return name.ends_with(".part") || name.ends_with(".converted") || name.ends_with(".resume");
}

// Whoever may not do this (an NFS server maps root to nobody, say) uses the base all the same.
Result<void> BaseCache::touch(const std::string& name) const {
  const auto status = places_.bases->status(name);
  if (!status) return fail(status.error().clone());
  if (*status && (*status)->st_mtim.tv_sec + kTouchInterval_s > std::time(nullptr)) return {};
  if (::utimensat(places_.bases->fd(), name.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0) return {};
  if (errno == EPERM || errno == EACCES || errno == EROFS) return {};
  return fail_errno(errno, "touch", places_.bases->path_of(name));
}

Task<BaseImage> BaseCache::examine(std::string name) {
  const Folder& bases = *places_.bases;
  const UniqueFd fd = co_await bases.open_file(name, O_RDONLY);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) co_return fail_errno(errno, "stat", bases.path_of(name));
  Seen now{.inode = status.st_ino,
           .size = static_cast<std::uint64_t>(status.st_size),
           .changed_ns = nanoseconds(status.st_ctim),
           .image = {.path = bases.path_of(name)}};
  if (const auto seen = seen_.find(name); seen != seen_.end()) {
    const Seen& before = seen->second;
    if (before.inode == now.inode && before.size == now.size &&
        before.changed_ns == now.changed_ns) {
      co_return before.image;
    }
  }
  BaseImage& image = now.image;
  image.format = co_await safe_format(fd.get(), image.path, "", config_, nullptr);
  const ImageInfo info = co_await look_at_image(image.path, image.format, places_.root.lookup());
  image.virtual_size = info.virtual_size;
  image.cluster_size = info.cluster_size;
  seen_[name] = now;
  co_return image;
}

Task<std::optional<BaseImage>> BaseCache::look(std::string name) {
  co_await check_base_name(name);
  if (!places_.bases) co_return std::nullopt;
  const auto status = co_await places_.bases->status(name);
  if (!status) co_return std::nullopt;
  co_return co_await examine(std::move(name));
}

Task<HeldBase> BaseCache::get(BaseRequest request, LockLedger& ledger, Progress* progress,
                              const CancelToken* cancel) {
  co_await check_base_name(request.name);
  const LockWait wait{.timeout = config_.limits.lock_wait, .cancel = cancel};
  HeldBase base;
  base.lock = co_await NamedLock::acquire(*places_.locks, base_lock_name(request.name),
                                          LockRank::base, ledger, wait);
  const auto status = co_await places_.bases->status(request.name);
  const bool missing = !status;
  if (missing && request.source == nullptr) {
    co_return fail(ErrorKind::not_found,
                   fmt::format("'{}' is missing, and nothing says where to fetch it from",
                               places_.bases->path_of(request.name)));
  }
  if (missing) {
    BaseFetch fetch{.request = request,
                    .bases = *places_.bases,
                    .config = config_,
                    .progress = progress,
                    .cancel = cancel};
    co_await fetch_base(fetch);
  }
  co_await touch(request.name);
  base.image = co_await examine(request.name);
  base.image.fetched = missing;
  co_return std::move(base);
}

}  // namespace platter::provision
