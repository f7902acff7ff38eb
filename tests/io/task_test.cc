#include "io/task.h"

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "io/run_loop.h"
#include "tests/io/task_probes.h"

namespace platter {
namespace {

using test::Journal;
using test::kStackBound;
using test::StackProbe;

constexpr long kMillion = 1'000'000;

Error some_error(std::string message = "a message longer than any small buffer") {
  return {ErrorKind::corrupt_image, std::move(message)};
}

// ---- The stack

enum class How { at_once, after_blocking };

Task<long> odd(long i, How how, StackProbe& stack) {
  if (how == How::after_blocking) co_await yield();
  stack.touch();
  co_return i & 1;
}

Task<void> nothing(StackProbe& stack) {
  stack.touch();
  co_return;
}

Task<long> add_up(long count, How how, StackProbe& stack) {
  long sum = 0;
  for (long i = 0; i < count; ++i) {
    sum += co_await odd(i, how, stack);
    if (i % 8 == 0) co_await nothing(stack);
  }
  co_return sum;
}

Task<long> fails_if_odd(long i, How how, StackProbe& stack) {
  if (how == How::after_blocking) co_await yield();
  stack.touch();
  if ((i & 1) != 0) co_return fail(ErrorKind::io, "odd");
  co_return i;
}

Task<long> passes_on(long i, How how, StackProbe& stack) {
  co_return 1 + co_await fails_if_odd(i, how, stack);
}

Task<long> count_errors(long count, How how, StackProbe& stack) {
  long errors = 0;
  for (long i = 0; i < count; ++i) {
    const Result<long> result = co_await passes_on(i, how, stack).result();
    if (!result) ++errors;
  }
  co_return errors;
}

Task<long> both_ways(long i, StackProbe& stack) {
  const long at_once = co_await odd(i, How::at_once, stack);
  const long after_blocking = co_await odd(i, How::after_blocking, stack);
  co_return at_once + after_blocking;
}

Task<long> add_up_mixed(long count, StackProbe& stack) {
  long sum = 0;
  for (long i = 0; i < count; ++i) {
    sum += i % 3 != 0 ? co_await odd(i, How::at_once, stack) : co_await both_ways(i, stack);
  }
  co_return sum;
}

Task<void> yield_often(long count, StackProbe& stack) {
  for (long i = 0; i < count; ++i) {
    co_await yield();
    stack.touch();
  }
}

// Blocks once, then finishes many children inline, within the one resumption.
Task<long> blocks_then_adds_up(long count, StackProbe& stack) {
  co_await yield();
  co_return co_await add_up(count, How::at_once, stack);
}

TEST(Task, AMillionAwaitsThatFinishAtOnceNeedNoStack) {
  RunLoop loop;
  StackProbe stack;
  EXPECT_EQ(loop.run(add_up(kMillion, How::at_once, stack)).value(), kMillion / 2);
  EXPECT_LT(stack.range(), kStackBound);
}

TEST(Task, AMillionAwaitsThatBlockNeedNoStack) {
  RunLoop loop;
  StackProbe stack;
  EXPECT_EQ(loop.run(add_up(kMillion, How::after_blocking, stack)).value(), kMillion / 2);
  EXPECT_LT(stack.range(), kStackBound);
}

TEST(Task, AMillionAwaitsThatFinishAtOnceAfterBlockingNeedNoStack) {
  RunLoop loop;
  StackProbe stack;
  EXPECT_EQ(loop.run(blocks_then_adds_up(kMillion, stack)).value(), kMillion / 2);
  EXPECT_LT(stack.range(), kStackBound);
}

TEST(Task, AMillionAwaitsOfBothKindsNeedNoStack) {
  RunLoop loop;
  StackProbe stack;
  EXPECT_TRUE(loop.run(add_up_mixed(kMillion, stack)));
  EXPECT_LT(stack.range(), kStackBound);
}

TEST(Task, AMillionErrorsThatComeAtOnceNeedNoStack) {
  RunLoop loop;
  StackProbe stack;
  EXPECT_EQ(loop.run(count_errors(kMillion, How::at_once, stack)).value(), kMillion / 2);
  EXPECT_LT(stack.range(), kStackBound);
}

TEST(Task, AMillionErrorsThatComeAfterBlockingNeedNoStack) {
  RunLoop loop;
  StackProbe stack;
  EXPECT_EQ(loop.run(count_errors(kMillion, How::after_blocking, stack)).value(), kMillion / 2);
  EXPECT_LT(stack.range(), kStackBound);
}

TEST(Task, AMillionYieldsNeedNoStack) {
  RunLoop loop;
  StackProbe stack;
  EXPECT_TRUE(loop.run(yield_often(kMillion, stack)));
  EXPECT_LT(stack.range(), kStackBound);
}

// ---- Deep chains

constexpr int kDepth = 1000;

// Counts how often each of many objects was destroyed; measures the stack while that happens.
struct Lives {
  explicit Lives(StackProbe& probe) : stack(probe), destroyed(kDepth + 1, 0) {}
  bool each_ended_once() const {
    return std::ranges::all_of(destroyed, [](int times) { return times == 1; });
  }
  StackProbe& stack;
  std::vector<int> destroyed;
};

class Life {
 public:
  Life(Lives& lives, int index) : lives_(lives), index_(index) {}
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  ~Life() {
    ++lives_.destroyed[static_cast<std::size_t>(index_)];
    lives_.stack.touch();
  }

 private:
  Lives& lives_;
  int index_;
};

Task<int> descend(int depth, How how, bool fails, Lives& lives) {
  const Life life(lives, depth);
  if (depth == 0) {
    if (how == How::after_blocking) {
      co_await yield();
      lives.stack.reset();  // from here on only the way up is measured
    }
    if (fails) co_return fail(some_error("bottom"));
    co_return 0;
  }
  co_return 1 + co_await descend(depth - 1, how, fails, lives);
}

// Every frame looks at the error and blocks once more before it passes it on.
Task<int> descend_and_observe(int depth, Lives& lives) {
  const Life life(lives, depth);
  if (depth == 0) {
    co_await yield();
    lives.stack.reset();
    co_return fail(some_error("bottom"));
  }
  Result<int> result = co_await descend_and_observe(depth - 1, lives).result();
  co_await yield();
  co_return co_await std::move(result);
}

class DeepChain : public ::testing::TestWithParam<How> {};
INSTANTIATE_TEST_SUITE_P(, DeepChain, ::testing::Values(How::at_once, How::after_blocking),
                         [](const auto& suite) {
                           return suite.param == How::at_once ? "AtOnce" : "AfterBlocking";
                         });

TEST_P(DeepChain, AValueComesUpThroughAThousandFrames) {
  RunLoop loop;
  StackProbe stack;
  Lives lives(stack);
  EXPECT_EQ(loop.run(descend(kDepth, GetParam(), false, lives)).value(), kDepth);
  EXPECT_TRUE(lives.each_ended_once());
  if (GetParam() == How::after_blocking) {
    EXPECT_LT(stack.range(), kStackBound);
  }
}

TEST_P(DeepChain, AnErrorThroughAThousandFramesDestroysEachOfThemOnce) {
  RunLoop loop;
  StackProbe stack;
  Lives lives(stack);
  const Result<int> result = loop.run(descend(kDepth, GetParam(), true, lives));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "bottom");
  EXPECT_EQ(result.error().kind(), ErrorKind::corrupt_image);
  EXPECT_TRUE(lives.each_ended_once());
  if (GetParam() == How::after_blocking) {
    EXPECT_LT(stack.range(), kStackBound);
  }
}

TEST(Task, AnErrorThatEveryFrameObservesComesUpThroughAThousandFrames) {
  RunLoop loop;
  StackProbe stack;
  Lives lives(stack);
  const Result<int> result = loop.run(descend_and_observe(kDepth, lives));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "bottom");
  EXPECT_TRUE(lives.each_ended_once());
  EXPECT_LT(stack.range(), kStackBound);
}

// ---- The order of destruction

Task<int> innermost(Journal& journal, How how, bool fails) {
  const Journal::Entry local(journal, "c");
  if (how == How::after_blocking) co_await yield();
  if (fails) co_await fail(some_error());
  co_return 1;
}

Task<int> middle(Journal& journal, How how, bool fails) {
  const Journal::Entry outer(journal, "b1");
  int value = 0;
  {
    const Journal::Entry inner(journal, "b2");
    value = co_await innermost(journal, how, fails);
  }
  const Journal::Entry late(journal, "b3");
  co_return value;
}

Task<int> outermost(Journal& journal, How how, bool fails, std::unique_ptr<Journal::Entry>) {
  const Journal::Entry local(journal, "a");
  co_return co_await middle(journal, how, fails);
}

Task<void> observe_outermost(Journal& journal, How how, bool fails) {
  auto argument = std::make_unique<Journal::Entry>(journal, "argument");
  const Result<int> result = co_await outermost(journal, how, fails, std::move(argument)).result();
  journal.add(result ? "value" : "error");
}

class DestructionOrder : public ::testing::TestWithParam<How> {};
INSTANTIATE_TEST_SUITE_P(, DestructionOrder, ::testing::Values(How::at_once, How::after_blocking),
                         [](const auto& suite) {
                           return suite.param == How::at_once ? "AtOnce" : "AfterBlocking";
                         });

TEST_P(DestructionOrder, OnSuccessIsInnermostFirstAndBeforeTheAwaiterGoesOn) {
  RunLoop loop;
  Journal journal;
  EXPECT_TRUE(loop.run(observe_outermost(journal, GetParam(), false)));
  EXPECT_EQ(journal.text(), "+argument +a +b1 +b2 +c -c -b2 +b3 -b3 -b1 -a -argument value");
}

TEST_P(DestructionOrder, OnAnErrorIsInnermostFirstAndBeforeTheAwaiterGoesOn) {
  RunLoop loop;
  Journal journal;
  EXPECT_TRUE(loop.run(observe_outermost(journal, GetParam(), true)));
  EXPECT_EQ(journal.text(), "+argument +a +b1 +b2 +c -c -b2 -b1 -a -argument error");
}

Task<int> co_returns_error(Journal& journal, How how) {
  const Journal::Entry local(journal, "c");
  if (how == How::after_blocking) co_await yield();
  co_return fail(some_error());
}

Task<void> observe_co_returned(Journal& journal, How how) {
  const Result<int> result = co_await co_returns_error(journal, how).result();
  journal.add(result ? "value" : "error");
}

TEST_P(DestructionOrder, IsTheSameForCoReturnAsForCoAwaitOfAnError) {
  RunLoop loop;
  Journal journal;
  EXPECT_TRUE(loop.run(observe_co_returned(journal, GetParam())));
  EXPECT_EQ(journal.text(), "+c -c error");
}

// ---- Values and errors

Result<int> plain(bool succeeds) {
  if (succeeds) return 4;
  return fail(some_error("plain"));
}

Result<void> plain_void(bool succeeds) {
  if (succeeds) return {};
  return fail(some_error("plain void"));
}

Task<int> awaits_results(bool first, bool second) {
  int sum = co_await plain(first);
  co_await plain_void(second);
  Result<int> named = plain(true);
  sum += co_await std::move(named);
  co_return sum;
}

TEST(Task, CoAwaitOnAResultYieldsItsValue) {
  RunLoop loop;
  EXPECT_EQ(loop.run(awaits_results(true, true)).value(), 8);
}

TEST(Task, CoAwaitOnAResultThatIsAnErrorEndsTheCoroutine) {
  RunLoop loop;
  EXPECT_EQ(loop.run(awaits_results(false, true)).error().message(), "plain");
  EXPECT_EQ(loop.run(awaits_results(true, false)).error().message(), "plain void");
}

Task<void> awaits_fail(bool fails, bool& went_on) {
  if (fails) co_await fail(ErrorKind::no_space, "full");
  went_on = true;
}

TEST(Task, CoAwaitOnFailEndsATaskThatHasNoValue) {
  RunLoop loop;
  bool went_on = false;
  const Result<void> failed = loop.run(awaits_fail(true, went_on));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().kind(), ErrorKind::no_space);
  EXPECT_FALSE(went_on);
  EXPECT_TRUE(loop.run(awaits_fail(false, went_on)));
  EXPECT_TRUE(went_on);
}

Task<int> co_returns_a_result(bool succeeds) { co_return plain(succeeds); }

TEST(Task, CoReturnTakesAValueAnErrorOrAResult) {
  RunLoop loop;
  EXPECT_EQ(loop.run(co_returns_a_result(true)).value(), 4);
  EXPECT_EQ(loop.run(co_returns_a_result(false)).error().message(), "plain");
}

Task<std::string> observes(bool fails) {
  bool went_on = false;
  const Result<void> result = co_await awaits_fail(fails, went_on).result();
  co_return result ? "value" : std::string(to_string(result.error().kind()));
}

TEST(Task, ObservingAResultNeverEndsTheAwaiter) {
  RunLoop loop;
  EXPECT_EQ(loop.run(observes(false)).value(), "value");
  EXPECT_EQ(loop.run(observes(true)).value(), "no_space");
}

Task<std::string> cleans_up_then_passes_on(How how, Journal& journal) {
  StackProbe stack;
  Result<long> result = co_await fails_if_odd(1, how, stack).result();
  co_await yield();  // cleaning up may itself await
  journal.add("cleaned up");
  co_return std::to_string(co_await std::move(result));
}

TEST(Task, CodeThatCleansUpMayAwaitAndThenPassTheErrorOn) {
  for (const How how : {How::at_once, How::after_blocking}) {
    RunLoop loop;
    Journal journal;
    EXPECT_EQ(loop.run(cleans_up_then_passes_on(how, journal)).error().message(), "odd");
    EXPECT_EQ(journal.text(), "cleaned up");
  }
}

Task<std::unique_ptr<int>> makes_move_only(How how) {
  if (how == How::after_blocking) co_await yield();
  co_return std::make_unique<int>(5);
}

Task<int> takes_move_only(std::unique_ptr<int> owned) {
  co_await yield();
  co_return *owned;
}

Task<int> hands_on_move_only(How how) {
  std::unique_ptr<int> owned = co_await makes_move_only(how);
  co_return co_await takes_move_only(std::move(owned));
}

TEST(Task, ValuesNeedOnlyMove) {
  RunLoop loop;
  EXPECT_EQ(loop.run(hands_on_move_only(How::at_once)).value(), 5);
  EXPECT_EQ(loop.run(hands_on_move_only(How::after_blocking)).value(), 5);
  EXPECT_EQ(*loop.run(makes_move_only(How::after_blocking)).value(), 5);
}

struct NoDefault {
  explicit NoDefault(int number) : value(number) {}
  int value;
};

Task<NoDefault> makes_no_default() { co_return NoDefault(3); }
Task<std::pair<int, int>> makes_braced_pair() { co_return {1, 2}; }
Task<std::tuple<int, std::string>> makes_tuple() { co_return {1, "two"}; }

TEST(Task, ValuesNeedNoDefaultConstructorAndMayBeWrittenInBraces) {
  RunLoop loop;
  EXPECT_EQ(loop.run(makes_no_default()).value().value, 3);
  EXPECT_EQ(loop.run(makes_braced_pair()).value(), std::pair(1, 2));
  EXPECT_EQ(std::get<1>(loop.run(makes_tuple()).value()), "two");
}

Task<std::optional<int>> makes_empty() { co_return std::nullopt; }

TEST(Task, AnEmptyOptionalIsAValue) {
  RunLoop loop;
  const Result<std::optional<int>> result = loop.run(makes_empty());
  ASSERT_TRUE(result);
  EXPECT_FALSE(result->has_value());
}

// ---- The life of a task

Task<int> keeps(std::unique_ptr<Journal::Entry> argument) {
  co_await yield();
  co_return argument != nullptr ? 1 : 0;
}

TEST(Task, RunsNothingUntilItIsAwaited) {
  RunLoop loop;
  StackProbe stack;
  {
    const Task<void> task = nothing(stack);
  }
  EXPECT_EQ(stack.range(), 0U);
}

TEST(Task, ThatNeverStartedDestroysItsParameters) {
  RunLoop loop;
  Journal journal;
  {
    const Task<int> task = keeps(std::make_unique<Journal::Entry>(journal, "argument"));
  }
  EXPECT_EQ(journal.text(), "+argument -argument");
}

TEST(Task, ThatNeverStartedNeedsNoRunLoop) {
  Journal journal;
  {
    const Task<int> task = keeps(std::make_unique<Journal::Entry>(journal, "argument"));
  }
  EXPECT_EQ(journal.text(), "+argument -argument");
}

TEST(Task, MovesAndTheTargetOfAnAssignmentIsDestroyed) {
  RunLoop loop;
  Journal journal;
  Task<int> first = keeps(std::make_unique<Journal::Entry>(journal, "first"));
  Task<int> second = keeps(std::make_unique<Journal::Entry>(journal, "second"));
  first = std::move(second);
  EXPECT_EQ(journal.text(), "+first +second -first");
  Task<int> third = std::move(first);
  EXPECT_EQ(loop.run(std::move(third)).value(), 1);
  EXPECT_EQ(journal.text(), "+first +second -first -second");
}

TEST(Task, IsMoveOnlyAndCanNotBeAwaitedTwice) {
  static_assert(std::is_nothrow_move_constructible_v<Task<int>>);
  static_assert(!std::is_copy_constructible_v<Task<int>>);
  static_assert(!std::is_default_constructible_v<Task<int>>);
}

Task<void> blocks_for_good() {
  struct Never {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
  };
  co_await Never();
}

Task<void> awaits_blocked() { co_await blocks_for_good(); }

TEST(TaskDeathTest, ABlockedTaskMayNotBeDestroyed) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        Task<void> task = blocks_for_good();
        task.start();
      },
      "CHECK failed: .*state != ");
  EXPECT_DEATH(
      {
        RunLoop loop;
        Task<void> task = awaits_blocked();
        task.start();
      },
      "CHECK failed: .*state != ");
}

TEST(TaskDeathTest, ATaskStartsOnlyOnce) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        StackProbe stack;
        Task<void> task = nothing(stack);
        task.start();
        task.start();
      },
      "CHECK failed: .*state == ");
}

Task<void> awaits_moved_from() {
  StackProbe stack;
  Task<void> task = nothing(stack);
  const Task<void> thief = std::move(task);
  co_await std::move(task);  // NOLINT(bugprone-use-after-move): the mistake under test
}

TEST(TaskDeathTest, AMovedFromTaskMayNotBeAwaited) {
  EXPECT_DEATH(
      {
        RunLoop loop;
        (void)loop.run(awaits_moved_from());
      },
      "CHECK failed: handle_ ");
}

}  // namespace
}  // namespace platter
