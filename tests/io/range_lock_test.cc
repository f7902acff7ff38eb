#include "io/range_lock.h"

#include <cstdint>
#include <list>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/run_loop.h"
#include "io/task_group.h"
#include "tests/io/task_probes.h"

namespace platter {
namespace {

using test::Journal;
using test::kStackBound;
using test::StackProbe;

struct Request {
  std::uint64_t offset;
  std::uint64_t length;
  bool exclusive;
  bool conflicts(const Request& other) const {
    return (exclusive || other.exclusive) && offset < other.offset + other.length &&
           other.offset < offset + length;
  }
};

/// Checks every grant against those that hold and those that wait.
class Referee {
 public:
  struct Entry {
    Request request;
    bool granted = false;
  };
  std::list<Entry>::iterator arrive(const Request& request) {
    return entries_.insert(entries_.end(), {request});
  }
  void grant(std::list<Entry>::iterator entry) {
    // Fair: nobody who came before and conflicts is still there, granted or waiting.
    for (auto earlier = entries_.begin(); earlier != entry; ++earlier) {
      EXPECT_FALSE(earlier->request.conflicts(entry->request));
    }
    for (const Entry& other : entries_) {
      if (&other != &*entry && other.granted) {
        EXPECT_FALSE(other.request.conflicts(entry->request));
      }
    }
    entry->granted = true;
    ++grants_;
  }
  void leave(std::list<Entry>::iterator entry) { entries_.erase(entry); }
  std::size_t grants() const { return grants_; }

 private:
  std::list<Entry> entries_;  // in order of arrival
  std::size_t grants_ = 0;
};

Task<void> hold(RangeLock& lock, Request request, int yields_before, int yields_inside,
                Referee& referee) {
  for (int i = 0; i < yields_before; ++i) co_await yield();
  const auto entry = referee.arrive(request);
  {
    RangeLock::Guard guard(lock, request.offset, request.length, request.exclusive);
    co_await guard.acquired();
    referee.grant(entry);
    for (int i = 0; i < yields_inside; ++i) co_await yield();
    referee.leave(entry);
  }
}

Task<void> hold_at_random(RangeLock& lock, unsigned seed, int requests, Referee& referee) {
  std::minstd_rand random(seed);
  auto below = [&random](unsigned bound) { return static_cast<unsigned>(random() % bound); };
  TaskGroup group(1 + below(40));
  const unsigned exclusive_of_ten = below(11);
  for (int i = 0; i < requests; ++i) {
    const Request request{below(100), 1 + below(30), below(10) < exclusive_of_ten};
    const int before = static_cast<int>(below(4));
    const int inside = static_cast<int>(below(5));
    co_await group.spawn(hold(lock, request, before, inside, referee));
  }
  co_await group.join();
}

// A lost wake-up would be a deadlock, which the loop does not survive.
TEST(RangeLock, RandomRunsNeverOverlapNeverOvertakeAndNeverLoseAWakeUp) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RunLoop loop;
    RangeLock lock;
    Referee referee;
    ASSERT_TRUE(loop.run(hold_at_random(lock, seed, 300, referee)));
    ASSERT_EQ(referee.grants(), 300U);
    if (HasFailure()) break;
  }
}

Task<void> note(RangeLock& lock, Request request, std::string name, int yields, Journal& journal) {
  RangeLock::Guard guard(lock, request.offset, request.length, request.exclusive);
  co_await guard.acquired();
  journal.add("+" + name);
  for (int i = 0; i < yields; ++i) co_await yield();
  journal.add("-" + name);
}

struct Step {
  Request request;
  std::string name;
  int yields;
};

Task<void> note_all(RangeLock& lock, std::vector<Step> steps, Journal& journal) {
  TaskGroup group(steps.size());
  for (const Step& step : steps) {
    co_await group.spawn(note(lock, step.request, step.name, step.yields, journal));
  }
  co_await group.join();
}

std::string order_of(std::vector<Step> steps) {
  RunLoop loop;
  RangeLock lock;
  Journal journal;
  EXPECT_TRUE(loop.run(note_all(lock, std::move(steps), journal)));
  return journal.text();
}

TEST(RangeLock, SharedRangesOverlap) {
  EXPECT_EQ(order_of({{{0, 10, false}, "a", 1}, {{5, 10, false}, "b", 1}}), "+a +b -a -b");
}

TEST(RangeLock, RangesThatOnlyTouchDoNotConflict) {
  EXPECT_EQ(order_of({{{0, 10, true}, "a", 1}, {{10, 10, true}, "b", 1}}), "+a +b -a -b");
}

TEST(RangeLock, ExclusiveRangesThatOverlapComeOneAfterTheOther) {
  EXPECT_EQ(order_of({{{0, 10, true}, "a", 1}, {{9, 1, true}, "b", 1}, {{0, 1, true}, "c", 2}}),
            "+a -a +b +c -b -c");
}

TEST(RangeLock, ASharedRangeWaitsForAnEarlierExclusiveOneThatStillWaits) {
  // Or a stream of readers would keep the writer out for good.
  EXPECT_EQ(order_of({{{0, 10, false}, "a", 2}, {{0, 10, true}, "W", 1}, {{0, 10, false}, "b", 1}}),
            "+a -a +W -W +b -b");
}

TEST(RangeLock, ARangeThatConflictsWithNobodyPassesThoseThatWait) {
  EXPECT_EQ(order_of({{{0, 10, true}, "a", 3}, {{0, 10, true}, "b", 1}, {{20, 1, true}, "c", 1}}),
            "+a +c -c -a +b -b");
}

TEST(RangeLock, ARangeThatWaitsForTwoGoesOnAfterTheSecond) {
  EXPECT_EQ(
      order_of({{{0, 10, false}, "a", 1}, {{10, 10, false}, "b", 4}, {{5, 10, true}, "c", 1}}),
      "+a +b -a -b +c -c");
}

TEST(RangeLock, RangesUpToTheLargestOffsetWork) {
  constexpr std::uint64_t kEnd = std::uint64_t{1} << 63;
  EXPECT_EQ(order_of({{{kEnd - 10, 10, true}, "a", 1}, {{0, kEnd, true}, "b", 1}}), "+a -a +b -b");
}

Task<void> take_all(RangeLock& lock, long rounds, StackProbe& stack) {
  for (long i = 0; i < rounds; ++i) {
    RangeLock::Guard guard(lock, 0, 100, true);
    co_await guard.acquired();
    stack.touch();
    if (i % 2 == 0) co_await yield();
  }
}

Task<void> take_side_by_side(RangeLock& lock, StackProbe& stack) {
  TaskGroup group(4);
  for (int i = 0; i < 4; ++i) co_await group.spawn(take_all(lock, 50'000, stack));
  co_await group.join();
}

TEST(RangeLock, ManyContendedLocksNeedNoStack) {
  RunLoop loop;
  RangeLock lock;
  StackProbe stack;
  EXPECT_TRUE(loop.run(take_side_by_side(lock, stack)));
  EXPECT_LT(stack.range(), kStackBound);
}

TEST(RangeLockDeathTest, ALockThatIsHeldMayNotBeDestroyed) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        auto lock = std::make_unique<RangeLock>();
        const RangeLock::Guard guard(*lock, 0, 1, true);
        lock.reset();
      },
      "CHECK failed: first_ == nullptr");
}

}  // namespace
}  // namespace platter
