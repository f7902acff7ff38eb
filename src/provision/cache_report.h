// What the cache of base images holds, who needs it, and what may go.
#pragma once

#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "io/cancel.h"
#include "io/task.h"
#include "src/provision/config.h"
#include "src/provision/places.h"

namespace platter::provision {

enum class BaseKind : std::uint8_t {
  image,      ///< 40 hexadecimal digits
  resized,    ///< the same, '_' and a size: made for disks of that size, in old times
  ephemeral,  ///< "ephemeral_..."
  swap,       ///< "swap_..."
  partial,    ///< what a fetch has, or had, in hand
  other,
};
/// "image", ...
std::string_view to_string(BaseKind kind) noexcept;
BaseKind base_kind_of(std::string_view name) noexcept;

struct CachedBase {
  std::string name;
  BaseKind kind = BaseKind::other;
  std::uint64_t size = 0;          ///< of the file, in bytes
  std::uint64_t allocated = 0;     ///< what it takes of the disk: whole blocks, in bytes
  std::chrono::seconds age{};      ///< since it was last used; negative: the clock went back
  std::uint64_t user_count = 0;    ///< disks that stand on it
  std::vector<std::string> users;  ///< paths of the first of them
  bool known = false;              ///< whoever asked said that its image is still wanted
};

struct CacheReport {
  std::vector<CachedBase> bases;  ///< by name
  std::uint64_t size = 0;         ///< sums of all
  std::uint64_t allocated = 0;
  std::uint64_t disk_count = 0;  ///< of instances, whatever they stand on
  /// Disks that could not be looked at: what they stand on is not known.
  std::vector<std::string> unreadable;
};

/// Changes nothing, takes no lock. `known`: names of bases whose images are still wanted.
/// Errors: those of the folders; cancelled.
Task<CacheReport> look_at_cache(const Places& places, const Config& config,
                                std::set<std::string, std::less<>> known,
                                const CancelToken* cancel);

enum class PruneVerdict : std::uint8_t {
  used,       ///< a disk stands on it: its time of use is now
  known,      ///< likewise: its image is still wanted
  young,      ///< it was used not long ago
  busy,       ///< an operation holds its lock
  removed,    ///< it is gone, and so is its lock's file
  removable,  ///< it would be, in a dry run
  failed,     ///< it could not be removed
};
/// "used", ...
std::string_view to_string(PruneVerdict verdict) noexcept;

struct PrunedBase {
  CachedBase base;
  PruneVerdict verdict = PruneVerdict::young;
  std::string reason;  ///< of `failed`
};

struct PruneOptions {
  std::set<std::string, std::less<>> known;
  bool dry_run = false;
  const CancelToken* cancel = nullptr;
};

struct PruneResult {
  std::vector<PrunedBase> bases;
  std::uint64_t freed = 0;  ///< bytes of the disk, or what would be
};

/// Removes what nothing names and nobody has used for CacheConfig's times. Each is looked at once more
/// under its lock, and so are all disks: whoever makes a disk holds that lock. One that can't be removed
/// does not stop the others. Errors: refused_by_policy (a disk can't be looked at, so nobody knows what
/// may go: nothing has changed), those of the folders; cancelled.
Task<PruneResult> prune_cache(const Places& places, const Config& config, PruneOptions options);

struct VerifiedBase {
  std::string name;
  std::string format;              ///< if it is good
  std::uint64_t virtual_size = 0;  ///< bytes
  std::string fault;               ///< what is wrong; empty: nothing
};

/// Whether each whole base can be opened, and is safe to make disks from. Changes nothing.
Task<std::vector<VerifiedBase>> verify_cache(const Places& places, const Config& config,
                                             const CancelToken* cancel);

}  // namespace platter::provision
