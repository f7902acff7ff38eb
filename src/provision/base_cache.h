// Base images: fetched once, checked, and kept for all disks that are made from them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"
#include "src/provision/config.h"
#include "src/provision/image_backend.h"
#include "src/provision/named_lock.h"
#include "src/provision/places.h"

namespace platter::provision {

struct BaseImage {
  std::string path;
  std::string format;                         ///< "raw" or "qcow2"
  std::uint64_t virtual_size = 0;             ///< bytes
  std::optional<std::uint64_t> cluster_size;  ///< bytes; qcow2
  bool fetched = false;                       ///< it was missing
};

/// A base that nobody removes or replaces while this lives.
struct HeldBase {
  std::unique_ptr<NamedLock> lock;
  BaseImage image;
};

/// A base gets its name when it is complete, checked, converted (to raw, where the configuration wants
/// that) and durable. Until then it is `<base>.part`, and `<base>.converted`; `<base>.resume` says how a
/// fetch that was killed can go on. All of them belong to whoever holds the base's lock.
///
/// Each use checks it again, within the bounds of formats/inspect: what is unsafe is refused, wherever it
/// came from. One thread; places and configuration outlive it.
class BaseCache {
 public:
  BaseCache(const Places& places, const Config& config) : places_(places), config_(config) {}

  /// Errors: not_found (it is missing, and there is no source), refused_by_policy (unsafe, or not what
  /// it was said to be), unknown_format, wrong_digest, too_large, timed_out, cancelled, and those of the
  /// source. REQUIRES: Places::make().
  Task<HeldBase> get(BaseRequest request, LockLedger& ledger, Progress* progress,
                     const CancelToken* cancel);

  /// What is there, without a lock and without a trace; nothing if it is missing.
  Task<std::optional<BaseImage>> look(std::string name);

 private:
  struct Seen {
    std::uint64_t inode = 0;
    std::uint64_t size = 0;
    std::int64_t changed_ns = 0;
    BaseImage image;
  };
  Task<BaseImage> examine(std::string name);
  Result<void> touch(const std::string& name) const;

  const Places& places_;
  const Config& config_;
  std::map<std::string, Seen> seen_;  // what examine() found, as long as the file does not change
};

/// Names that a base can't have: they are those of bases to be.
bool is_partial_base(std::string_view name) noexcept;

}  // namespace platter::provision
