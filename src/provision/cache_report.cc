#include "src/provision/cache_report.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <optional>
#include <utility>

#include "src/provision/base_cache.h"
#include "src/provision/cache_users.h"
#include "src/provision/named_lock.h"
#include "src/provision/names.h"

namespace platter::provision {
namespace {

constexpr std::size_t kSha1Digits = 40;
constexpr std::uint64_t kStatBlock = 512;  // st_blocks counts these, whatever the filesystem has

bool is_hex(char c) noexcept { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }
bool is_number(std::string_view text) noexcept {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

CachedBase base_of(std::string name, const struct stat& status) {
  CachedBase base{.name = std::move(name)};
  base.kind = base_kind_of(base.name);
  base.size = static_cast<std::uint64_t>(status.st_size);
  base.allocated = static_cast<std::uint64_t>(status.st_blocks) * kStatBlock;
  base.age = std::chrono::seconds(std::time(nullptr) - status.st_mtim.tv_sec);
  return base;
}

Result<std::vector<CachedBase>> list_bases(const Folder& folder) {
  Result<std::vector<std::string>> names = folder.names();
  if (!names) return fail(std::move(names.error()));
  std::ranges::sort(*names);
  std::vector<CachedBase> bases;
  for (std::string& name : *names) {
    const auto status = folder.status(name);
    if (!status) return fail(status.error().clone());
    if (*status && S_ISREG((*status)->st_mode)) bases.push_back(base_of(std::move(name), **status));
  }
  return bases;
}

// The base whose lock a file belongs to: "a" for "a.part".
std::string stem_of(const CachedBase& base) {
  if (base.kind != BaseKind::partial) return base.name;
  return base.name.substr(0, base.name.rfind('.'));
}

std::vector<std::string> names_of(const std::vector<CachedBase>& bases) {
  std::vector<std::string> names;
  for (const CachedBase& base : bases) names.push_back(base.name);
  return names;
}

class Pruning {
 public:
  Pruning(const Places& places, const Config& config, const PruneOptions& options)
      : places_(places), config_(config), options_(options) {}

  Task<PruneVerdict> judge(const CachedBase& base);

 private:
  bool is_young(const CachedBase& base) const;
  Task<PruneVerdict> judge_locked(const CachedBase& base, NamedLock& lock);
  Result<void> touch(const std::string& name) const;

  const Places& places_;
  const Config& config_;
  const PruneOptions& options_;
};

bool Pruning::is_young(const CachedBase& base) const {
  const bool resized = base.kind == BaseKind::resized;
  return base.age < (resized ? config_.cache.resized_retention : config_.cache.retention);
}

// Whoever may not do this keeps the base all the same, for as long as something names it.
Result<void> Pruning::touch(const std::string& name) const {
  if (options_.dry_run) return {};
  if (::utimensat(places_.bases->fd(), name.c_str(), nullptr, AT_SYMLINK_NOFOLLOW) == 0) return {};
  if (errno == EPERM || errno == EACCES || errno == EROFS || errno == ENOENT) return {};
  return fail_errno(errno, "touch", places_.bases->path_of(name));
}

Task<PruneVerdict> Pruning::judge(const CachedBase& base) {
  const bool needed = base.user_count != 0 || base.known;
  if (needed) co_await touch(base.name);
  if (needed) co_return base.known ? PruneVerdict::known : PruneVerdict::used;
  if (is_young(base)) co_return PruneVerdict::young;
  if (options_.dry_run) co_return PruneVerdict::removable;
  LockLedger ledger;
  const LockWait wait{.timeout = std::chrono::milliseconds(0), .cancel = options_.cancel};
  const auto lock = co_await NamedLock::acquire(*places_.locks, base_lock_name(stem_of(base)),
                                                LockRank::base, ledger, wait)
                        .result();
  if (!lock && lock.error().kind() == ErrorKind::timed_out) co_return PruneVerdict::busy;
  if (!lock) co_return fail(lock.error().clone());
  co_return co_await judge_locked(base, **lock);
}

Task<PruneVerdict> Pruning::judge_locked(const CachedBase& base, NamedLock& lock) {
  const auto status = co_await places_.bases->status(base.name);
  if (status && is_young(base_of(base.name, *status))) co_return PruneVerdict::young;
  const CacheUsers users =
      co_await scan_cache_users(places_, config_.base_folder, {base.name}, options_.cancel);
  if (!users.by_base.empty()) co_return PruneVerdict::used;
  if (!users.unreadable.empty()) {
    co_return fail(ErrorKind::refused_by_policy,
                   "a disk can't be looked at: " + users.unreadable[0]);
  }
  co_await places_.bases->remove_file(base.name);
  co_await places_.bases->sync();
  // A partial file's lock is that of a base that may be there.
  if (base.kind != BaseKind::partial) lock.remove_file_when_done();
  co_return PruneVerdict::removed;
}

}  // namespace

std::string_view to_string(BaseKind kind) noexcept {
  switch (kind) {
    case BaseKind::image: return "image";
    case BaseKind::resized: return "resized";
    case BaseKind::ephemeral: return "ephemeral";
    case BaseKind::swap: return "swap";
    case BaseKind::partial: return "partial";
    case BaseKind::other: return "other";
  }
  return "other";
}

std::string_view to_string(PruneVerdict verdict) noexcept {
  switch (verdict) {
    case PruneVerdict::used: return "used";
    case PruneVerdict::known: return "known";
    case PruneVerdict::young: return "young";
    case PruneVerdict::busy: return "busy";
    case PruneVerdict::removed: return "removed";
    case PruneVerdict::removable: return "removable";
    case PruneVerdict::failed: return "failed";
  }
  return "failed";
}

BaseKind base_kind_of(std::string_view name) noexcept {
  if (is_partial_base(name)) return BaseKind::partial;
  if (name.starts_with("ephemeral_")) return BaseKind::ephemeral;
  if (name.starts_with("swap_")) return BaseKind::swap;
  const bool sha1 =
      name.size() >= kSha1Digits && std::ranges::all_of(name.substr(0, kSha1Digits), is_hex);
  if (sha1 && name.size() == kSha1Digits) return BaseKind::image;
  if (sha1 && name[kSha1Digits] == '_' && is_number(name.substr(kSha1Digits + 1))) {
    return BaseKind::resized;
  }
  return BaseKind::other;
}

Task<CacheReport> look_at_cache(const Places& places, const Config& config,
                                std::set<std::string, std::less<>> known,
                                const CancelToken* cancel) {
  CacheReport report;
  if (!places.bases) co_return report;
  report.bases = co_await list_bases(*places.bases);
  CacheUsers users =
      co_await scan_cache_users(places, config.base_folder, names_of(report.bases), cancel);
  for (CachedBase& base : report.bases) {
    base.known = known.contains(base.name);
    if (const auto found = users.by_base.find(base.name); found != users.by_base.end()) {
      base.user_count = found->second.count;
      base.users = std::move(found->second.paths);
    }
    report.size += base.size;
    report.allocated += base.allocated;
  }
  report.disk_count = users.disk_count;
  report.unreadable = std::move(users.unreadable);
  co_return report;
}

Task<PruneResult> prune_cache(const Places& places, const Config& config, PruneOptions options) {
  PruneResult result;
  CacheReport report = co_await look_at_cache(places, config, options.known, options.cancel);
  if (!report.unreadable.empty()) {
    co_return fail(
        ErrorKind::refused_by_policy,
        "nothing is removed, because a disk can't be looked at: " + report.unreadable[0]);
  }
  if (!report.bases.empty() && !places.locks && !options.dry_run) {
    co_return fail(ErrorKind::not_found, "'" + places.root.path() + "' has no folder of locks");
  }
  Pruning pruning(places, config, options);
  for (CachedBase& base : report.bases) {
    co_await look_for_cancel(options.cancel);
    const Result<PruneVerdict> verdict = co_await pruning.judge(base).result();
    if (!verdict && verdict.error().kind() == ErrorKind::cancelled) {
      co_return fail(verdict.error().clone());
    }
    PrunedBase pruned{.base = std::move(base), .verdict = verdict.value_or(PruneVerdict::failed)};
    if (!verdict) pruned.reason = verdict.error().message();
    const bool goes =
        pruned.verdict == PruneVerdict::removed || pruned.verdict == PruneVerdict::removable;
    if (goes) result.freed += pruned.base.allocated;
    result.bases.push_back(std::move(pruned));
  }
  co_return result;
}

Task<std::vector<VerifiedBase>> verify_cache(const Places& places, const Config& config,
                                             const CancelToken* cancel) {
  std::vector<VerifiedBase> verified;
  if (!places.bases) co_return verified;
  BaseCache cache(places, config);
  for (const CachedBase& base : co_await list_bases(*places.bases)) {
    co_await look_for_cancel(cancel);
    if (base.kind == BaseKind::partial) continue;
    VerifiedBase entry{.name = base.name};
    const auto image = co_await cache.look(base.name).result();
    if (!image) entry.fault = image.error().message();
    if (image && *image) {
      entry.format = (*image)->format;
      entry.virtual_size = (*image)->virtual_size;
    }
    if (!image || *image) verified.push_back(std::move(entry));
  }
  co_return verified;
}

}  // namespace platter::provision
