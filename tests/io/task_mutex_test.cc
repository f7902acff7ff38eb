#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/async_mutex.h"
#include "io/run_loop.h"
#include "io/task_group.h"
#include "tests/io/task_probes.h"

namespace platter {
namespace {

using test::kStackBound;
using test::StackProbe;

/// Who was inside, in order; notices when two were at once.
struct Visits {
  void enter(int id) {
    ++inside;
    inside_max = std::max(inside_max, inside);
    order.push_back(id);
  }
  void leave() { --inside; }
  int inside = 0;
  int inside_max = 0;
  std::vector<int> order;
};

Task<void> visit(AsyncMutex& mutex, int id, int rounds, Visits& visits) {
  for (int round = 0; round < rounds; ++round) {
    const auto guard = co_await mutex.lock();
    visits.enter(id);
    if (id % 2 == 1) co_await yield();
    visits.leave();
  }
}

Task<void> visit_in_turn(int visitors, int rounds, Visits& visits) {
  AsyncMutex mutex;
  auto body = [&](TaskGroup& group) -> Task<void> {
    const auto guard = co_await mutex.lock();
    for (int id = 0; id < visitors; ++id) co_await group.spawn(visit(mutex, id, rounds, visits));
    co_await yield();
    EXPECT_TRUE(visits.order.empty());
    EXPECT_TRUE(mutex.locked());
  };
  co_await with_group(static_cast<std::size_t>(visitors), body);
  EXPECT_FALSE(mutex.locked());
}

TEST(AsyncMutex, LetsOneInAtATime) {
  RunLoop loop;
  Visits visits;
  EXPECT_TRUE(loop.run(visit_in_turn(8, 50, visits)));
  EXPECT_EQ(visits.order.size(), 400U);
  EXPECT_EQ(visits.inside_max, 1);
}

TEST(AsyncMutex, GoesToTheOldestWaiterAndNobodyOvertakes) {
  constexpr int kVisitors = 8;
  RunLoop loop;
  Visits visits;
  EXPECT_TRUE(loop.run(visit_in_turn(kVisitors, 50, visits)));
  for (std::size_t i = 0; i < visits.order.size(); ++i) {
    ASSERT_EQ(visits.order[i], static_cast<int>(i % kVisitors)) << "at turn " << i;
  }
}

TEST(AsyncMutex, ThatIsFreeIsTakenWithoutBlocking) {
  RunLoop loop;
  AsyncMutex mutex;
  Visits visits;
  Task<void> task = visit(mutex, 0, 1000, visits);
  EXPECT_TRUE(task.start());
  EXPECT_EQ(visits.order.size(), 1000U);
}

Task<void> fail_inside(AsyncMutex& mutex, int id, Visits& visits) {
  const auto guard = co_await mutex.lock();
  visits.enter(id);
  co_await yield();
  visits.leave();
  co_await fail(ErrorKind::io, "inside");
}

Task<void> fail_in_turn(AsyncMutex& mutex, Visits& visits) {
  TaskGroup group(4);
  for (int id = 0; id < 4; ++id) co_await group.spawn(fail_inside(mutex, id, visits));
  co_await group.join();
}

TEST(AsyncMutex, IsUnlockedWhenAnErrorPassesThrough) {
  RunLoop loop;
  AsyncMutex mutex;
  Visits visits;
  EXPECT_FALSE(loop.run(fail_in_turn(mutex, visits)));
  EXPECT_EQ(visits.order, (std::vector{0, 1, 2, 3}));
  EXPECT_EQ(visits.inside_max, 1);
  EXPECT_FALSE(mutex.locked());
}

Task<void> hand_over(AsyncMutex& mutex) {
  auto guard = co_await mutex.lock();
  {
    const auto taken = std::move(guard);
    EXPECT_TRUE(mutex.locked());
  }
  EXPECT_FALSE(mutex.locked());
}

TEST(AsyncMutex, AGuardThatMovedUnlocksAtItsNewPlace) {
  RunLoop loop;
  AsyncMutex mutex;
  EXPECT_TRUE(loop.run(hand_over(mutex)));
}

Task<void> contend(AsyncMutex& mutex, long rounds, StackProbe& stack) {
  for (long i = 0; i < rounds; ++i) {
    const auto guard = co_await mutex.lock();
    stack.touch();
    if (i % 2 == 0) co_await yield();
  }
}

Task<void> contend_side_by_side(AsyncMutex& mutex, StackProbe& stack) {
  TaskGroup group(4);
  for (int i = 0; i < 4; ++i) co_await group.spawn(contend(mutex, 250'000, stack));
  co_await group.join();
}

TEST(AsyncMutex, AMillionContendedLocksNeedNoStack) {
  RunLoop loop;
  AsyncMutex mutex;
  StackProbe stack;
  EXPECT_TRUE(loop.run(contend_side_by_side(mutex, stack)));
  EXPECT_LT(stack.range(), kStackBound);
}

// ---- Semaphore

Task<void> use_permit(AsyncSemaphore& semaphore, int id, int yields, Visits& visits) {
  const auto permit = co_await semaphore.acquire();
  visits.enter(id);
  for (int i = 0; i < yields; ++i) co_await yield();
  visits.leave();
}

Task<void> use_permits(AsyncSemaphore& semaphore, int users, unsigned seed, Visits& visits) {
  std::minstd_rand random(seed);
  TaskGroup group(static_cast<std::size_t>(users));
  for (int id = 0; id < users; ++id) {
    co_await group.spawn(use_permit(semaphore, id, static_cast<int>(random() % 4), visits));
  }
  co_await group.join();
}

TEST(AsyncSemaphore, LetsInAsManyAsItHasPermitsInTheOrderOfArrival) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    RunLoop loop;
    AsyncSemaphore semaphore(1 + seed % 5);
    Visits visits;
    EXPECT_TRUE(loop.run(use_permits(semaphore, 100, seed, visits)));
    EXPECT_LE(visits.inside_max, static_cast<int>(1 + seed % 5));
    EXPECT_EQ(semaphore.available(), 1 + seed % 5);
    for (int id = 0; id < 100; ++id) {
      ASSERT_EQ(visits.order[static_cast<std::size_t>(id)], id) << "seed " << seed;
    }
  }
}

Task<void> release_then_acquire(AsyncSemaphore& semaphore, Visits& visits) {
  TaskGroup group(1);
  {
    const auto permit = co_await semaphore.acquire();
    co_await group.spawn(use_permit(semaphore, 1, 0, visits));  // waits
  }
  // The permit is already promised to 1, although 1 has not continued yet.
  EXPECT_EQ(semaphore.available(), 0U);
  const auto permit = co_await semaphore.acquire();
  visits.enter(2);
  visits.leave();
  co_await group.join();
}

TEST(AsyncSemaphore, AReleasedPermitCanNotBeSnatchedFromItsWaiter) {
  RunLoop loop;
  AsyncSemaphore semaphore(1);
  Visits visits;
  EXPECT_TRUE(loop.run(release_then_acquire(semaphore, visits)));
  EXPECT_EQ(visits.order, (std::vector{1, 2}));
}

// ---- Mistakes

TEST(AsyncMutexDeathTest, AMutexThatIsLockedMayNotBeDestroyed) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        auto mutex = std::make_unique<AsyncMutex>();
        Visits visits;
        Task<void> task = visit(*mutex, 1, 1, visits);
        task.start();
        mutex.reset();
      },
      "CHECK failed: !locked");
}

}  // namespace
}  // namespace platter
