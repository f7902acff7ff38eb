// The fallback where io_uring is forbidden: the same requests as blocking system calls on threads.
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <mutex>
#include <vector>

#include "io/ring_engine.h"
#include "io/worker_pool.h"

namespace platter {
namespace {

class ThreadEngine final : public RingEngine {
 public:
  ThreadEngine(int event_fd, const RingOptions& options)
      : event_fd_(event_fd), workers_(options.threads) {}

  void submit(IoOperation& operation) override {
    if (spare_.empty()) spare_.push_back(std::make_unique<Job>(*this));
    std::unique_ptr<Job> job = std::move(spare_.back());
    spare_.pop_back();
    job->operation = &operation;
    workers_.submit(*job.release());
  }

  void poll(bool block, IoOperation**& completed_tail) override {
    if (block) {
      pollfd wake{.fd = event_fd_, .events = POLLIN, .revents = 0};
      ::poll(&wake, 1, -1);  // EINTR: the loop looks at interrupts and comes back
    }
    take_completed(completed_tail);
  }

  int register_file(int) noexcept override { return -1; }
  void unregister_file(int) noexcept override {}
  bool register_buffers(std::span<const iovec>) noexcept override { return false; }
  void unregister_buffers() noexcept override {}

  RingEngineKind kind() const noexcept override { return RingEngineKind::threads; }
  const RingFeatures& features() const noexcept override { return features_; }

 private:
  struct Job final : WorkerJob {
    explicit Job(ThreadEngine& owner) : engine(owner) {}
    void execute() noexcept override {
      operation->result = perform(*operation);
      engine.complete(*this);
    }
    ThreadEngine& engine;
    IoOperation* operation = nullptr;
  };

  void complete(Job& job);
  void take_completed(IoOperation**& completed_tail);

  int event_fd_;
  RingFeatures features_;
  std::vector<std::unique_ptr<Job>> spare_;
  std::mutex mutex_;
  std::vector<Job*> done_;  // guarded by mutex_
  WorkerPool workers_;      // last: its threads use the rest
};

void ThreadEngine::complete(Job& job) {
  bool first = false;
  {
    std::lock_guard lock(mutex_);
    first = done_.empty();
    done_.push_back(&job);
  }
  if (!first) return;
  const std::uint64_t one = 1;
  while (::write(event_fd_, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void ThreadEngine::take_completed(IoOperation**& completed_tail) {
  std::uint64_t count = 0;
  pollfd wake{.fd = event_fd_, .events = POLLIN, .revents = 0};
  if (::poll(&wake, 1, 0) > 0) (void)!::read(event_fd_, &count, sizeof count);
  std::lock_guard lock(mutex_);
  for (Job* job : done_) {
    job->operation->next = nullptr;
    *completed_tail = job->operation;
    completed_tail = &job->operation->next;
    spare_.emplace_back(job);
  }
  done_.clear();
}

}  // namespace

std::unique_ptr<RingEngine> make_thread_engine(int event_fd, const RingOptions& options) {
  return std::make_unique<ThreadEngine>(event_fd, options);
}

}  // namespace platter
