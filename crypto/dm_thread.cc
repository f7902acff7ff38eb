#include "crypto/dm_thread.h"

namespace platter {

WorkerPool& dm_thread() {
  static WorkerPool pool(1);
  return pool;
}

}  // namespace platter
