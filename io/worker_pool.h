// Threads for what must not block a ring: system calls without an io_uring form, and computation.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>
#include <vector>

namespace platter {

/// One unit of work. Owned by whoever submitted it; alive until execute() has been entered. What
/// execute() does last may be to hand the job to another thread that destroys it.
class WorkerJob {
 public:
  virtual void execute() noexcept = 0;

 protected:
  ~WorkerJob() = default;

 private:
  friend class WorkerPool;
  WorkerJob* next_ = nullptr;
};

/// FIFO. Threads are started as jobs need them, up to a limit, and kept. Any thread may submit.
class WorkerPool {
 public:
  explicit WorkerPool(std::size_t threads_max);
  /// Runs what is queued, then ends the threads.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void submit(WorkerJob& job);

 private:
  void work();

  const std::size_t threads_max_;
  std::mutex mutex_;
  std::condition_variable wake_;
  WorkerJob* head_ = nullptr;
  WorkerJob** tail_ = &head_;
  std::size_t idle_ = 0;
  std::size_t queued_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace platter
