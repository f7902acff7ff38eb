#include "io/cancel.h"

#include <chrono>

#include "io/ring.h"

namespace platter {

Task<void> look_for_cancel(const CancelToken* cancel) {
  if (cancel == nullptr) co_return;
  const int slept = co_await Ring::current().sleep(std::chrono::nanoseconds(0));
  if (slept < 0) co_await fail_errno(-slept, "wait");
  co_await cancel->check();
}

}  // namespace platter
