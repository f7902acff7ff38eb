#include "io/worker_pool.h"

#include <pthread.h>
#include <signal.h>

#include <system_error>

#include "io/check.h"

namespace platter {

WorkerPool::WorkerPool(std::size_t threads_max) : threads_max_(threads_max) {
  PLATTER_CHECK(threads_max > 0);
}

WorkerPool::~WorkerPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerPool::submit(WorkerJob& job) {
  std::lock_guard lock(mutex_);
  job.next_ = nullptr;
  *tail_ = &job;
  tail_ = &job.next_;
  ++queued_;
  if (queued_ > idle_ && threads_.size() < threads_max_) {
    // Signals are for the thread that runs the program's loop, never for a worker; except for those
    // that a thread brings on itself: blocked, they would end the process without their handler.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
      sigdelset(&all, own);
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      threads_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {  // a limit of processes: those that there are must do
      PLATTER_CHECK(!threads_.empty() && "no thread can be started");
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  wake_.notify_one();
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    wake_.wait(lock, [this] { return head_ != nullptr || stopping_; });
    --idle_;
    if (head_ == nullptr) return;
    WorkerJob* job = head_;
    head_ = job->next_;
    if (head_ == nullptr) tail_ = &head_;
    --queued_;
    lock.unlock();
    job->execute();
    lock.lock();
  }
}

}  // namespace platter
