#include "io/run_loop.h"

#include <utility>

namespace platter {
namespace {

// A busy queue must not starve I/O: look for completions after this many resumptions.
constexpr unsigned kStepsPerPoll = 64;

}  // namespace

RunLoop::RunLoop() {
  PLATTER_CHECK(t_current == nullptr);
  t_current = this;
}

RunLoop::~RunLoop() {
  PLATTER_CHECK(t_current == this);
  t_current = nullptr;
  FramePool::trim();
}

void RunLoop::poll(bool block) {
  // Nothing outside of the queue could ever post: the awaited task can't finish.
  PLATTER_CHECK(!block && "deadlock: a task waits and nothing is ready");
}

void RunLoop::step() {
  if (ready_.empty()) {
    since_poll_ = 0;
    poll(/*block=*/true);
    return;
  }
  if (++since_poll_ >= kStepsPerPoll) {
    since_poll_ = 0;
    poll(/*block=*/false);
  }
  detail::resume(ready_.pop());
}

void RunLoop::Queue::grow() {
  std::vector<std::coroutine_handle<>> larger(slots_.size() * 2);
  for (std::size_t i = 0; i < size_; ++i) larger[i] = slots_[(head_ + i) & (slots_.size() - 1)];
  slots_ = std::move(larger);
  head_ = 0;
}

}  // namespace platter
