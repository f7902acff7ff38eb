#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/run_loop.h"
#include "io/task_group.h"

namespace platter {
namespace {

Task<void> write_down(int id, int rounds, std::vector<int>& order) {
  for (int round = 0; round < rounds; ++round) {
    order.push_back(id);
    co_await yield();
  }
}

Task<void> run_side_by_side(int count, int rounds, std::vector<int>& order) {
  TaskGroup group(static_cast<std::size_t>(count));
  for (int id = 0; id < count; ++id) co_await group.spawn(write_down(id, rounds, order));
  co_await group.join();
}

TEST(RunLoop, ContinuesInTheOrderOfPosting) {
  RunLoop loop;
  std::vector<int> order;
  EXPECT_TRUE(loop.run(run_side_by_side(3, 4, order)));
  EXPECT_EQ(order, (std::vector{0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2}));
}

TEST(RunLoop, KeepsTheOrderWhenItsQueueGrows) {
  constexpr int kCount = 5000;  // far more than the queue begins with
  constexpr int kRounds = 3;
  RunLoop loop;
  std::vector<int> order;
  EXPECT_TRUE(loop.run(run_side_by_side(7, 5, order)));  // the queue's begin is somewhere inside
  order.clear();
  EXPECT_TRUE(loop.run(run_side_by_side(kCount, kRounds, order)));
  ASSERT_EQ(order.size(), std::size_t{kCount} * kRounds);
  for (std::size_t i = 0; i < order.size(); ++i) {
    ASSERT_EQ(order[i], static_cast<int>(i % kCount)) << "at turn " << i;
  }
}

Task<int> seven() {
  co_await yield();
  co_return 7;
}

TEST(RunLoop, RunsOneTaskAfterTheOther) {
  RunLoop loop;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(loop.run(seven()).value(), 7);
}

TEST(RunLoop, AThreadMayHaveOneAfterTheOther) {
  for (int i = 0; i < 10; ++i) {
    RunLoop loop;
    EXPECT_EQ(&RunLoop::current(), &loop);
    EXPECT_EQ(loop.run(seven()).value(), 7);
  }
}

TEST(RunLoop, EveryThreadHasItsOwn) {
  RunLoop loop;
  std::vector<std::thread> threads;
  std::vector<int> sums(4, 0);
  for (int& sum : sums) {
    threads.emplace_back([&sum] {
      RunLoop own;
      for (int i = 0; i < 1000; ++i) sum += own.run(seven()).value();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sums, std::vector<int>(4, 7000));
}

/// Counts how the loop looks for events.
class CountingLoop final : public RunLoop {
 public:
  int polls = 0;

 private:
  void poll(bool block) override {
    ++polls;
    RunLoop::poll(block);
  }
};

Task<void> yield_times(int count) {
  for (int i = 0; i < count; ++i) co_await yield();
}

TEST(RunLoop, ABusyLoopStillLooksForEventsFromTimeToTime) {
  CountingLoop loop;
  EXPECT_TRUE(loop.run(yield_times(10000)));
  EXPECT_GE(loop.polls, 10);
  EXPECT_LE(loop.polls, 1000);
}

Task<void> waits_for_nothing() {
  struct Never {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
  };
  co_await Never();
}

TEST(RunLoopDeathTest, ADeadlockEndsTheProcess) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        (void)loop.run(waits_for_nothing());
      },
      "CHECK failed.*deadlock");
}

TEST(RunLoopDeathTest, AThreadHasAtMostOne) {
  EXPECT_DEATH(
      {
        const RunLoop first;
        const RunLoop second;
      },
      "CHECK failed: t_current == nullptr");
}

TEST(RunLoopDeathTest, AThreadWithoutOneHasNoCurrent) {
  EXPECT_DEATH((void)RunLoop::current(), "CHECK failed: t_current != nullptr");
}

Task<void> runs_the_loop_again() {
  (void)RunLoop::current().run(seven());
  co_return;
}

TEST(RunLoopDeathTest, ACoroutineMayNotRunItsOwnLoop) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        (void)loop.run(runs_the_loop_again());
      },
      "CHECK failed.*running_");
}

}  // namespace
}  // namespace platter
