#include "src/provision/instance_lock.h"

#include <fmt/format.h>

namespace platter::provision {

Task<std::unique_ptr<NamedLock>> lock_instance(const Places& places, const Config& config,
                                               const DiskName& name, LockLedger& ledger,
                                               const CancelToken* cancel) {
  if (!places.locks) {
    co_return fail(ErrorKind::not_found,
                   fmt::format("'{}' has no folder of locks", places.root.path()));
  }
  const LockWait wait{.timeout = config.limits.lock_wait, .cancel = cancel};
  co_return co_await NamedLock::acquire(*places.locks, instance_lock_name(name.instance),
                                        LockRank::instance, ledger, wait, LockFile::goes);
}

}  // namespace platter::provision
