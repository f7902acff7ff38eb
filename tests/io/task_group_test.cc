#include "io/task_group.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/cancel.h"
#include "io/run_loop.h"
#include "tests/io/task_probes.h"

namespace platter {
namespace {

using test::kStackBound;
using test::StackProbe;

/// What the members of a group leave behind.
struct Tally {
  int running = 0;
  int running_max = 0;
  int finished = 0;
  StackProbe stack;
};

/// Counts itself in and, on every way out, out.
class Presence {
 public:
  explicit Presence(Tally& tally) : tally_(tally) {
    tally_.running_max = std::max(tally_.running_max, ++tally_.running);
    tally_.stack.touch();
  }
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;
  ~Presence() {
    --tally_.running;
    ++tally_.finished;
    tally_.stack.touch();
  }

 private:
  Tally& tally_;
};

Task<void> work(int id, int yields, std::set<int> failing, Tally& tally) {
  const Presence presence(tally);
  for (int i = 0; i < yields; ++i) co_await yield();
  if (failing.contains(id)) co_await fail(ErrorKind::io, "member " + std::to_string(id));
}

/// What with_group()'s body does: one row of the table that the tests below go through.
struct Plan {
  std::size_t limit = 1;
  int members = 100;
  int yields = 0;  ///< each member's; -1: all different
  std::set<int> failing{};
  bool body_fails = false;
  bool stop_at_failure = false;
};

Task<void> spawn_members(TaskGroup& group, const Plan& plan, Tally& tally) {
  for (int id = 0; id < plan.members; ++id) {
    if (plan.stop_at_failure && group.failed()) break;
    const int yields = plan.yields < 0 ? (id * 7) % 5 : plan.yields;
    co_await group.spawn(work(id, yields, plan.failing, tally));
  }
  if (plan.body_fails) co_await fail(ErrorKind::cancelled, "body");
}

Result<void> run_group(const Plan& plan, Tally& tally) {
  RunLoop loop;
  auto body = [&](TaskGroup& group) { return spawn_members(group, plan, tally); };
  return loop.run(with_group(plan.limit, body));
}

struct Shape {
  std::size_t limit;
  int yields;
};

class TaskGroupShapes : public ::testing::TestWithParam<Shape> {};
INSTANTIATE_TEST_SUITE_P(, TaskGroupShapes,
                         ::testing::Values(Shape{1, 0}, Shape{1, 1}, Shape{1, -1}, Shape{2, 0},
                                           Shape{2, 3}, Shape{2, -1}, Shape{7, 0}, Shape{7, 1},
                                           Shape{7, -1}, Shape{1000, 0}, Shape{1000, 1},
                                           Shape{1000, -1}),
                         [](const auto& suite) {
                           const std::string yields = suite.param.yields < 0
                                                          ? "Mixed"
                                                          : std::to_string(suite.param.yields);
                           return "Limit" + std::to_string(suite.param.limit) + "Yields" + yields;
                         });

TEST_P(TaskGroupShapes, RunsEveryMemberAndNeverMoreThanTheLimitAtOnce) {
  const auto [limit, yields] = GetParam();
  Tally tally;
  EXPECT_TRUE(run_group({.limit = limit, .yields = yields}, tally));
  EXPECT_EQ(tally.finished, 100);
  EXPECT_EQ(tally.running, 0);
  EXPECT_LE(tally.running_max, static_cast<int>(limit));
  if (yields > 0) {
    EXPECT_EQ(tally.running_max, static_cast<int>(std::min<std::size_t>(limit, 100)));
  }
}

TEST_P(TaskGroupShapes, EndsWithTheFirstErrorAfterAllMembersHaveFinished) {
  const auto [limit, yields] = GetParam();
  Tally tally;
  // Member 20 yields no more often than 21 and 25 do, so its error is the first.
  const Result<void> result =
      run_group({.limit = limit, .yields = yields, .failing = {20, 21, 25}}, tally);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "member 20");
  EXPECT_EQ(tally.finished, 100);
  EXPECT_EQ(tally.running, 0);
}

TEST_P(TaskGroupShapes, TheErrorOfTheBodyComesFirst) {
  const auto [limit, yields] = GetParam();
  Tally tally;
  const Result<void> result =
      run_group({.limit = limit, .yields = yields, .failing = {20}, .body_fails = true}, tally);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "body");
  EXPECT_EQ(tally.finished, 100);
  EXPECT_EQ(tally.running, 0);
}

TEST_P(TaskGroupShapes, AProducerSeesAFailureAndCanStop) {
  const auto [limit, yields] = GetParam();
  Tally tally;
  const Result<void> result = run_group(
      {.limit = limit, .yields = yields, .failing = {20}, .stop_at_failure = true}, tally);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "member 20");
  EXPECT_EQ(tally.running, 0);
  if (limit < 100) {
    EXPECT_LT(tally.finished, 100);
  }
}

TEST(TaskGroup, AMillionMembersThatFinishAtOnceNeedNoStack) {
  Tally tally;
  EXPECT_TRUE(run_group({.limit = 4, .members = 1'000'000}, tally));
  EXPECT_EQ(tally.finished, 1'000'000);
  EXPECT_LT(tally.stack.range(), kStackBound);
}

TEST(TaskGroup, AMillionMembersThatBlockNeedNoStack) {
  Tally tally;
  EXPECT_TRUE(run_group({.limit = 4, .members = 1'000'000, .yields = 1}, tally));
  EXPECT_EQ(tally.finished, 1'000'000);
  EXPECT_LT(tally.stack.range(), kStackBound);
}

TEST(TaskGroup, WithoutMembersEndsAtOnce) {
  Tally tally;
  EXPECT_TRUE(run_group({.limit = 1, .members = 0}, tally));
  EXPECT_FALSE(run_group({.limit = 1, .members = 0, .body_fails = true}, tally));
}

Task<void> join_twice(Tally& tally) {
  TaskGroup group(2);
  co_await group.spawn(work(1, 1, {1}, tally));
  const Result<void> first = co_await group.join().result();
  EXPECT_FALSE(first);
  EXPECT_FALSE(group.failed());
  co_await group.spawn(work(2, 1, {}, tally));
  EXPECT_EQ(group.running(), 1U);
  co_await group.join();
  EXPECT_EQ(group.running(), 0U);
}

TEST(TaskGroup, CanBeUsedAgainAfterAJoin) {
  RunLoop loop;
  Tally tally;
  EXPECT_TRUE(loop.run(join_twice(tally)));
  EXPECT_EQ(tally.finished, 2);
}

Task<void> nest(int depth, Tally& tally) {
  const Presence presence(tally);
  if (depth == 0) {
    co_await yield();
    co_await fail(ErrorKind::io, "innermost");
  }
  auto body = [depth, &tally](TaskGroup& group) -> Task<void> {
    for (int i = 0; i < 3; ++i) co_await group.spawn(nest(depth - 1, tally));
  };
  co_await with_group(2, body);
}

TEST(TaskGroup, AnErrorInANestedGroupComesOutOfTheOuterOneWhenAllAreDone) {
  RunLoop loop;
  Tally tally;
  const Result<void> result = loop.run(nest(4, tally));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "innermost");
  EXPECT_EQ(tally.finished, 1 + 3 + 9 + 27 + 81);
  EXPECT_EQ(tally.running, 0);
}

Task<void> hold_and_finish(int yields, std::shared_ptr<int>) {
  for (int i = 0; i < yields; ++i) co_await yield();
}

Task<long> count_alive(std::shared_ptr<int> shared) {
  TaskGroup group(4);
  co_await group.spawn(hold_and_finish(0, shared));
  co_await group.spawn(hold_and_finish(1, shared));
  co_await group.spawn(hold_and_finish(2, shared));
  for (int i = 0; i < 5; ++i) co_await yield();
  const long alive = shared.use_count();  // before the join
  co_await group.join();
  co_return alive;
}

TEST(TaskGroup, AMemberIsDestroyedWhenItFinishesNotWhenItIsJoined) {
  RunLoop loop;
  auto shared = std::make_shared<int>(1);
  EXPECT_EQ(loop.run(count_alive(shared)).value(), 2);  // the caller's and the parameter
}

// ---- Cancellation

/// Stands for an operation of many steps that undoes what it made.
Task<void> operate(int steps, CancelToken& cancel, std::vector<int>& made, int id, Tally& tally) {
  const Presence presence(tally);
  made.push_back(id);
  for (int step = 0; step < steps; ++step) {
    Result<void> go_on = cancel.check();
    if (!go_on) {
      co_await yield();  // undoing takes its time
      std::erase(made, id);
      co_await std::move(go_on);
    }
    co_await yield();
  }
}

Task<void> operate_side_by_side(CancelToken& cancel, std::vector<int>& made, Tally& tally) {
  TaskGroup group(16);
  for (int id = 0; id < 8; ++id) {
    co_await group.spawn(operate(id < 2 ? 3 : 1000, cancel, made, id, tally));
  }
  for (int i = 0; i < 10; ++i) co_await yield();
  cancel.request();
  EXPECT_EQ(group.running(), 6U);
  co_await group.join();
}

TEST(CancelToken, OperationsInFlightUndoWhatTheyMadeAndEndWithCancelled) {
  RunLoop loop;
  CancelToken cancel;
  std::vector<int> made;
  Tally tally;
  const Result<void> result = loop.run(operate_side_by_side(cancel, made, tally));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::cancelled);
  EXPECT_EQ(made, (std::vector{0, 1}));  // those two had finished before
  EXPECT_EQ(tally.finished, 8);
  EXPECT_EQ(tally.running, 0);
}

TEST(CancelToken, LetsOperationsPassUntilItIsRequested) {
  CancelToken cancel;
  EXPECT_TRUE(cancel.check());
  EXPECT_FALSE(cancel.requested());
  cancel.request();
  cancel.request();
  EXPECT_TRUE(cancel.requested());
  EXPECT_EQ(cancel.check().error().kind(), ErrorKind::cancelled);
}

// ---- Mistakes

TEST(TaskGroupDeathTest, AGroupThatIsNotJoinedMayNotBeDestroyed) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        Tally tally;
        TaskGroup group(2);
        (void)loop.run(group.spawn(work(1, 5, {}, tally)));
      },
      "CHECK failed: members_.empty");
}

TEST(TaskGroupDeathTest, AGroupHasRoomForAtLeastOne) {
  EXPECT_DEATH(const TaskGroup group(0), "CHECK failed: limit > 0");
}

}  // namespace
}  // namespace platter
