// The lock of one instance's disks.
#pragma once

#include <memory>

#include "io/cancel.h"
#include "io/task.h"
#include "src/provision/config.h"
#include "src/provision/named_lock.h"
#include "src/provision/names.h"
#include "src/provision/places.h"

namespace platter::provision {

/// Held while a disk of the instance is made, grown or removed; its file goes with it. `places` and
/// `ledger` outlive it. Errors: not_found (there is no folder of locks), and those of
/// NamedLock::acquire().
Task<std::unique_ptr<NamedLock>> lock_instance(const Places& places, const Config& config,
                                               const DiskName& name, LockLedger& ledger,
                                               const CancelToken* cancel);

}  // namespace platter::provision
