// The one thread that calls libdevmapper, libcryptsetup and liblvm2cmd.
//
// None of them may be called from two threads at once, and they share state: libdevmapper's log and
// descriptors, libcryptsetup's count of users. So one thread for the process owns all of it, whatever
// number of rings there are. Each call waits for those before it.
#pragma once

#include <utility>

#include "io/ring.h"
#include "io/worker_pool.h"

namespace platter {

/// A pool of one thread, made with the first call.
WorkerPool& dm_thread();

/// `co_await on_dm_thread(function)`: runs function() on that thread and yields what it returned.
/// REQUIRES: a ring. The function may not touch anything that belongs to the ring's thread.
template <class Function>
auto on_dm_thread(Function function) {
  return Ring::current().offload_to(dm_thread(), std::move(function));
}

}  // namespace platter
