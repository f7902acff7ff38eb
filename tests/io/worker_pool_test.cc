#include "io/worker_pool.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace platter {
namespace {

template <class Function>
class Job final : public WorkerJob {
 public:
  explicit Job(Function function) : function_(std::move(function)) {}
  void execute() noexcept override { function_(); }

 private:
  Function function_;
};

TEST(WorkerPool, RunsEveryJobBeforeItEnds) {
  std::atomic<int> ran = 0;
  auto count = [&ran] { ++ran; };
  std::vector<Job<decltype(count)>> jobs(10'000, Job(count));
  {
    WorkerPool pool(4);
    for (auto& job : jobs) pool.submit(job);
  }
  EXPECT_EQ(ran, 10'000);
}

TEST(WorkerPool, WithOneThreadRunsJobsInTheOrderOfSubmission) {
  std::vector<int> order;
  int next = 0;
  auto append = [&order, &next] { order.push_back(next++); };
  std::vector<Job<decltype(append)>> jobs(1000, Job(append));
  {
    WorkerPool pool(1);
    for (auto& job : jobs) pool.submit(job);
  }
  EXPECT_EQ(order.size(), 1000U);
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

TEST(WorkerPool, RunsAsManyAtOnceAsItHasThreads) {
  constexpr int kThreads = 6;
  std::barrier<> all_here(kThreads);  // a deadlock if fewer than this run at once
  auto meet = [&all_here] { all_here.arrive_and_wait(); };
  std::vector<Job<decltype(meet)>> jobs(kThreads, Job(meet));
  WorkerPool pool(kThreads);
  for (auto& job : jobs) pool.submit(job);
}

TEST(WorkerPool, NeverRunsMoreAtOnceThanItsLimit) {
  std::atomic<int> running = 0;
  std::atomic<int> running_max = 0;
  auto work = [&] {
    const int now = ++running;
    int seen = running_max;
    while (seen < now && !running_max.compare_exchange_weak(seen, now)) {
    }
    std::this_thread::sleep_for(std::chrono::microseconds(100));
    --running;
  };
  std::vector<Job<decltype(work)>> jobs(300, Job(work));
  {
    WorkerPool pool(3);
    for (auto& job : jobs) pool.submit(job);
  }
  EXPECT_LE(running_max, 3);
}

TEST(WorkerPool, KeepsToOneThreadWhileJobsComeOneByOne) {
  std::set<std::thread::id> seen;
  std::atomic<bool> done = false;
  auto note = [&] {
    seen.insert(std::this_thread::get_id());
    done = true;
  };
  WorkerPool pool(8);
  Job job(note);
  for (int i = 0; i < 50; ++i) {
    done = false;
    pool.submit(job);
    while (!done) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // until the thread waits again
  }
  // A thread that is slow to come back may cost another one, never one for each job.
  EXPECT_LE(seen.size(), 4U);
}

TEST(WorkerPool, TakesJobsFromSeveralThreadsAndFromItsOwn) {
  std::atomic<int> ran = 0;
  auto count = [&ran] { ++ran; };
  std::vector<Job<decltype(count)>> inner(400, Job(count));
  {
    WorkerPool pool(3);
    std::atomic<std::size_t> next = 0;
    auto resubmit = [&] { pool.submit(inner[next++]); };
    std::vector<Job<decltype(resubmit)>> outer(400, Job(resubmit));
    std::vector<std::thread> threads;
    for (std::size_t part = 0; part < 4; ++part) {
      threads.emplace_back([&, part] {
        for (std::size_t i = part * 100; i < part * 100 + 100; ++i) pool.submit(outer[i]);
      });
    }
    for (std::thread& thread : threads) thread.join();
    while (ran < 400) std::this_thread::yield();
  }
  EXPECT_EQ(ran, 400);
}

TEST(WorkerPool, AJobMayBeDestroyedAsSoonAsItHasRun) {
  struct SelfDestructing final : WorkerJob {
    explicit SelfDestructing(std::atomic<int>& counter) : ran(counter) {}
    void execute() noexcept override {
      ++ran;
      delete this;
    }
    std::atomic<int>& ran;
  };
  std::atomic<int> ran = 0;
  {
    WorkerPool pool(2);
    for (int i = 0; i < 1000; ++i) pool.submit(*std::make_unique<SelfDestructing>(ran).release());
  }
  EXPECT_EQ(ran, 1000);
}

TEST(WorkerPool, ItsThreadsTakeNoSignals) {
  sigset_t blocked;
  sigemptyset(&blocked);
  auto look = [&blocked] { pthread_sigmask(SIG_SETMASK, nullptr, &blocked); };
  Job job(look);
  {
    WorkerPool pool(1);
    pool.submit(job);
  }
  EXPECT_EQ(sigismember(&blocked, SIGINT), 1);
  EXPECT_EQ(sigismember(&blocked, SIGALRM), 1);
  sigset_t own;
  pthread_sigmask(SIG_SETMASK, nullptr, &own);
  EXPECT_EQ(sigismember(&own, SIGINT), 0);
}

TEST(WorkerPool, ThatWasNeverUsedStartsNoThread) { const WorkerPool pool(1000); }

}  // namespace
}  // namespace platter
