// Several tasks at once.
#pragma once

#include <utility>
#include <vector>

#include "io/task_group.h"

namespace platter::test {

/// Starts all of them, in order, before any that waits goes on; ends with the first error.
inline Task<void> all_at_once(std::vector<Task<void>> tasks) {
  TaskGroup group(tasks.size() + 1);
  for (Task<void>& task : tasks) co_await group.spawn(std::move(task));
  co_await group.join();
}

}  // namespace platter::test
