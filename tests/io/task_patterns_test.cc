// Language patterns around co_await. Compilers have got these wrong: objects that live across a
// suspension were copied bitwise, destroyed twice or not at all. So each pattern runs with every
// one of its awaits failing in turn, at once and after blocking, and every object is accounted for.
// Some of it is written the way the project's own code should not be: that is the point.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "io/async_mutex.h"
#include "io/run_loop.h"
#include "io/task.h"
#include "io/task_group.h"

// NOLINTBEGIN: patterns as people write them

namespace platter {
namespace {

// ---- Accounting

int g_live = 0;     // objects that exist
int g_misused = 0;  // uses of an object at an address that is not its own

/// Knows its own address: a bitwise copy is noticed at its first use.
class Object {
 public:
  Object() : Object(0) {}
  explicit Object(int value) : self_(this), value_(value) { ++g_live; }
  Object(const Object& other) : self_(this), value_(other.get()) { ++g_live; }
  Object(Object&& other) noexcept : self_(this), value_(other.get()) { ++g_live; }
  Object& operator=(const Object& other) {
    check();
    value_ = other.get();
    return *this;
  }
  ~Object() {
    check();
    self_ = nullptr;
    --g_live;
  }
  int get() const {
    check();
    return value_;
  }

 private:
  void check() const {
    if (self_ != this) ++g_misused;
  }
  const Object* self_;
  int value_;
};

struct Aggregate {
  Object object;
  int number = 0;
};
struct Texts {
  std::string text;
  std::vector<int> numbers;
};
struct Options {
  int a = 1;
  bool b = false;
  std::uint64_t c = 0;
};
struct Two {
  Object first, second;
};
struct Constructed {
  Object object;
  int number;
  Constructed(Object with, int count) : object(std::move(with)), number(count) {}
};

// ---- Awaits that fail on demand

bool g_block = false;  // each await blocks
int g_fail_at = -1;    // which await of the run fails
int g_awaits = 0;      // how many there were

std::string injected(int await) { return "the failure of await number " + std::to_string(await); }

Result<int> next(int value) {
  const int await = g_awaits++;
  if (await == g_fail_at) return fail(ErrorKind::io, injected(await));
  return value;
}

Task<int> step(int value = 1) {
  const Object local(value);
  if (g_block) co_await yield();
  Result<int> result = next(value);
  if (!result) co_return fail(std::move(result.error()));
  co_return local.get();
}

Result<int> plain(int value = 1) { return next(value); }
Result<Object> plain_object(int value = 1) {
  Result<int> result = next(value);
  if (!result) return fail(std::move(result.error()));
  return Object(*result);
}

Task<Object> object(int value = 1) {
  const int got = co_await step(value);
  co_return Object(got);
}
Task<void> step_void() { (void)co_await step(); }
Task<int> take(Object argument) {
  const int got = co_await step(argument.get());
  co_return got + argument.get();
}
Task<int> take_reference(const Object& argument) {
  const int got = co_await step(argument.get());
  co_return got + argument.get();
}
Task<int> take_rvalue(Object&& argument) {
  const int got = co_await step(argument.get());
  co_return got + argument.get();
}
Task<int> take_aggregate(Aggregate argument) {
  const int got = co_await step(argument.object.get());
  co_return got + argument.object.get();
}
Task<int> take_aggregate_reference(const Aggregate& argument) {
  const int got = co_await step(argument.object.get());
  co_return got + argument.object.get();
}
Task<int> take_texts(Texts argument) {
  const int got = co_await step();
  co_return got + static_cast<int>(argument.text.size() + argument.numbers.size());
}
Task<int> take_options(Options argument) {
  const int got = co_await step();
  co_return got + argument.a + static_cast<int>(argument.c);
}
Task<int> take_options_reference(const Options& argument) {
  const int got = co_await step();
  co_return got + argument.a + static_cast<int>(argument.c);
}
Task<int> take_string(std::string argument) {
  const int got = co_await step();
  co_return got + static_cast<int>(argument.size());
}
Task<int> take_view(std::string_view argument) {
  const int got = co_await step();
  co_return got + static_cast<int>(argument.size());
}
Task<int> take_vector(std::vector<Object> argument) {
  int sum = 0;
  for (const Object& each : argument) sum += co_await step(each.get());
  co_return sum;
}
Task<int> take_span(std::span<const int> argument) {
  int sum = 0;
  for (const int each : argument) sum += co_await step(each);
  co_return sum;
}
Task<int> take_function(std::function<Task<int>(int)> function) { co_return co_await function(1); }
template <class Function>
Task<int> take_callable(Function function) {
  co_return co_await function(1);
}
template <class Function>
Task<int> take_callable_reference(Function&& function) {
  co_return co_await function(1);
}
template <class T>
Task<int> take_generic(T value, auto more) {
  co_return co_await step(static_cast<int>(value) + more);
}
Task<int> take_default(int number, Object with = Object(9),
                       std::source_location where = std::source_location::current()) {
  co_return number + co_await step(with.get()) + (where.line() > 0 ? 1 : 0);
}
Task<Two> two() {
  const int got = co_await step();
  co_return Two{Object(got), Object(2)};
}
Task<std::tuple<Object, int>> tuple() {
  const int got = co_await step();
  co_return std::tuple<Object, int>{Object(got), 3};
}
Task<std::vector<Object>> vector() {
  const int got = co_await step();
  co_return std::vector<Object>(static_cast<std::size_t>(got + 2), Object(5));
}

struct Base {
  virtual ~Base() = default;
  virtual Task<int> run(Object argument) = 0;
};
struct Derived final : Base {
  Task<int> run(Object argument) override {
    const int got = co_await take(std::move(argument));
    co_return got + member.get();
  }
  Task<int> constant() const { co_return co_await step(member.get()); }
  Object member{7};
};

int sum_of(const Object& a, int b, const Object& c, int d) { return a.get() + b + c.get() + d; }
Object make_object(int value) { return Object(value); }
Aggregate make_aggregate() { return {Object(1), 2}; }
auto call(auto function) { return function(); }

/// Runs the pattern without a failure, where it must yield `expected`, and with each failure.
void check_pattern(Task<int> (*pattern)(), int expected) {
  for (const bool block : {false, true}) {
    int awaits = 0;
    for (int fail_at = -1; fail_at < awaits; ++fail_at) {
      SCOPED_TRACE(std::string(block ? "blocking" : "at once") + ", await " +
                   std::to_string(fail_at) + " fails");
      g_live = g_misused = g_awaits = 0;
      g_block = block;
      g_fail_at = fail_at;
      {
        RunLoop loop;
        const Result<int> result = loop.run(pattern());
        if (fail_at < 0) {
          ASSERT_TRUE(result) << result.error().message();
          EXPECT_EQ(*result, expected);
          awaits = g_awaits;
        } else if (!result) {
          EXPECT_EQ(result.error().message(), injected(fail_at));
        }
      }
      EXPECT_EQ(g_live, 0) << "objects leaked (or destroyed too often)";
      EXPECT_EQ(g_misused, 0) << "objects copied bitwise";
    }
    EXPECT_GT(awaits, 0);
  }
}

// PATTERN(Name, expected) { ... }: a coroutine, and the test that runs it.
#define PATTERN(Name, expected)                                  \
  Task<int> Name();                                              \
  TEST(TaskPatterns, Name) { check_pattern(&Name, (expected)); } \
  Task<int> Name()

// ---- Arguments

PATTERN(ATemporaryByValue, 2) { co_return co_await take(Object(1)); }
PATTERN(ATemporaryByConstReference, 2) { co_return co_await take_reference(Object(1)); }
PATTERN(ATemporaryByRvalueReference, 2) { co_return co_await take_rvalue(Object(1)); }
PATTERN(TemporariesAroundTwoAwaits, 5) {
  co_return sum_of(Object(1), co_await step(), make_object(2), co_await step());
}
PATTERN(AnAggregateTemporaryByValue, 2) {
  co_return co_await take_aggregate(Aggregate{Object(1), 2});
}
PATTERN(AnAggregateTemporaryByReference, 2) {
  co_return co_await take_aggregate_reference(Aggregate{Object(1), 2});
}
PATTERN(AnAggregateOfAStringAndAVector, 6) { co_return co_await take_texts({"sso", {1, 2}}); }
PATTERN(ATrivialAggregateWithDesignators, 11) {
  co_return co_await take_options({.a = 2, .c = 4}) +
      co_await take_options_reference(Options{.a = 3});
}
PATTERN(AValueInitialisedAggregate, 0) {
  co_return co_await take_aggregate(Aggregate{}) + co_await take_aggregate({});
}
PATTERN(AnAggregateReturnedByAFunction, 4) {
  co_return co_await take_aggregate(make_aggregate()) +
      co_await take_aggregate_reference(make_aggregate());
}
PATTERN(AnAggregateTemporaryBesideTheAwait, 5) {
  co_return sum_of(Aggregate{Object(1), 1}.object, co_await step(), Aggregate{Object(2), 2}.object,
                   1);
}
PATTERN(Strings, 9) {
  co_return co_await take_string("hello") + co_await take_string(std::string("x") + "y");
}
PATTERN(AViewOfATemporaryString, 37) {
  co_return co_await take_view(std::string("temporary string that is long enough"));
}
PATTERN(AnInitializerListOfObjects, 3) { co_return co_await take_vector({Object(1), Object(2)}); }
PATTERN(ASpanOfATemporary, 9) {
  co_return co_await take_span(std::array{1, 2, 3}) + co_await take_span(std::vector<int>{1, 2});
}
PATTERN(DefaultArguments, 16) {
  co_return co_await take_default(1) + co_await take_default(co_await step(), Object(0)) +
      co_await take_default(0, Object(2));
}
PATTERN(ImplicitConversions, 7) {
  struct Convertible {
    operator Object() const { return inner; }
    Object inner{1};
  };
  Convertible convertible;
  co_return co_await take(convertible) + co_await take(std::move(convertible)) +
      co_await take_string({3, 'x'}) + co_await take_vector(std::vector<Object>(2));
}
PATTERN(AwaitsWithinArguments, 6) {
  co_return co_await take(co_await object(co_await step())) +
      co_await take_reference(co_await object(2));
}
PATTERN(OwningPointersAsParameters, 3) {
  auto use = [](std::unique_ptr<Object> unique, std::shared_ptr<Object> shared) -> Task<int> {
    const int got = co_await step(unique->get());
    co_return got + shared->get();
  };
  co_return co_await use(std::make_unique<Object>(1), std::make_shared<Object>(2));
}

// ---- Control flow

PATTERN(Ternaries, 8) {
  const Object object(1);
  int sum = object.get() != 0 ? co_await take(Object(1)) : co_await take(Object(2));
  sum += object.get() == 0 ? co_await step(1) : co_await take_reference(Object(3));
  co_return sum;
}
PATTERN(LogicalOperators, 1) {
  const bool both = (co_await step() != 0 && co_await take(Object(2)) != 0) ||
                    co_await take_reference(Object(3)) != 0;
  co_return both ? 1 : 0;
}
PATTERN(IfWithInitialiser, 2) {
  if (const int got = co_await take(Object(1)); got > 0) {
    const Object inner(got);
    co_return co_await step(inner.get());
  } else {
    co_return co_await step(got);
  }
}
PATTERN(Loops, 6) {
  int count = 0;
  while (co_await take(Object(1)) != 0 && count < 3) {
    const Object inner(count);
    count += co_await step();
    if (count == 2) continue;
    if (count > 5) break;
  }
  do {
    const Object inner;
    ++count;
  } while (co_await step(count < 6 ? 1 : 0) != 0);
  co_return count;
}
PATTERN(ForWithAwaitsInItsHead, 3) {
  int sum = 0;
  for (int i = co_await step(0); i < co_await step(3); i += co_await step(1)) sum += i;
  co_return sum;
}
PATTERN(RangeForOverAnAwaitedVector, 30) {
  int sum = 0;
  for (const Object& each : co_await vector()) sum += co_await take_reference(each);
  co_return sum;
}
PATTERN(Switch, 1) {
  switch (co_await take(Object(1))) {
    case 2: {
      const Object inner(1);
      co_await step_void();
      [[fallthrough]];
    }
    case 3: co_await step_void(); break;
    default: co_return 9;
  }
  co_return 1;
}
PATTERN(GotoOutOfAScope, 3) {
  int count = 0;
again: {
  const Object inner(count);
  if (co_await step() != 0 && count++ < 2) goto again;
}
  co_return count;
}
PATTERN(TryBlock, 2) {
  std::variant<int, Object> either = co_await object(3);
  try {
    either = co_await object(2);
  } catch (...) {
    co_return 0;
  }
  co_return std::get<Object>(either).get();
}
PATTERN(ATemporaryWithADestructorInACondition, 1) {
  auto positive = [](Object argument) { return argument.get() > 0; };
  if (positive(Object(1)) && co_await step() != 0 && positive(co_await object(2))) co_return 1;
  co_return 0;
}

// ---- Lambdas

PATTERN(ALambdaCoroutineCalledWhereItIsWritten, 6) {
  const Object object(3);
  co_return co_await
      [object]() -> Task<int> { co_return object.get() + co_await step(object.get()); }();
}
PATTERN(ALambdaWithATrivialCapture, 16) {
  int number = 4;
  co_return co_await [number]() -> Task<int> {
    const int got = co_await step(number);
    co_return got + number;
  }() + co_await [&number]() -> Task<int> {
    const int got = co_await step(number);
    co_return got + number;
  }();
}
PATTERN(ATemporaryLambdaByValue, 4) {
  const Object object(3);
  co_return co_await take_callable(
      [object](int x) -> Task<int> { co_return object.get() + co_await step(x); });
}
PATTERN(ATemporaryLambdaByReference, 4) {
  const Object object(3);
  co_return co_await take_callable_reference(
      [object](int x) -> Task<int> { co_return object.get() + co_await step(x); });
}
PATTERN(ATemporaryLambdaInAFunctionObject, 4) {
  const Object object(3);
  co_return co_await take_function(
      [object](int x) -> Task<int> { co_return object.get() + co_await step(x); });
}
PATTERN(ANamedLambdaWithACapture, 16) {
  const Object object(3);
  auto named = [object](int x) -> Task<int> { co_return object.get() + co_await step(x); };
  co_return co_await named(1) + co_await take_callable(named) +
      co_await take_callable_reference(named) + co_await take_function(named);
}
PATTERN(ALambdaThatCapturesByReference, 4) {
  const Object object(3);
  const int got = co_await take_callable([&](int x) -> Task<int> {
    const int inner = co_await step(x);
    co_return object.get() + inner;
  });
  co_return got;
}
PATTERN(AGenericLambdaAndATemplate, 9) {
  auto generic = [](auto x) -> Task<int> {
    const Object inner(x);
    const int got = co_await step(x);
    co_return got + inner.get();
  };
  co_return co_await take_generic(1L, 2) + co_await generic(1) +
      co_await generic(static_cast<short>(2));
}
PATTERN(RecursionThroughAFunctionObject, 3) {
  std::function<Task<int>(int)> recurse = [&](int depth) -> Task<int> {
    const Object inner(depth);
    if (depth == 0) co_return 0;
    const int got = co_await recurse(depth - 1);
    co_return got + co_await step();
  };
  co_return co_await recurse(3);
}
PATTERN(APlainLambdaInTheOperand, 6) {
  const Object object(3);
  co_return co_await take(Object(call([object] { return object.get(); })));
}
PATTERN(APlainLambdaBesideTheAwait, 4) {
  const Object object(3);
  co_return call([object] { return object.get(); }) + co_await step();
}
PATTERN(AnAlgorithmWithALambda, 3) {
  const Object object(3);
  const std::vector<int> values{1, 2};
  const auto count = std::ranges::count_if(values, [object](int i) { return i < object.get(); });
  co_return static_cast<int>(count) + co_await step();
}

// ---- Initialisation

PATTERN(AnAggregateOfAwaits, 2) {
  const Aggregate aggregate{co_await object(1), co_await step()};
  co_return aggregate.object.get() + aggregate.number;
}
PATTERN(AnAggregateOfAwaitsWithDesignators, 2) {
  const Aggregate aggregate{.object = Object(co_await step()), .number = co_await step()};
  const Two pair{co_await object(), co_await object()};
  co_return aggregate.object.get() + pair.second.get();
}
PATTERN(AConstructorOfAwaits, 3) {
  const Constructed first(co_await object(1), co_await step());
  const Constructed second(Object(2), co_await step());
  co_return first.object.get() + second.object.get();
}
PATTERN(StructuredBindings, 7) {
  auto [a, b] = co_await two();
  auto [t, i] = co_await tuple();
  const int got = co_await step(a.get());
  co_return got + b.get() + t.get() + i;
}
PATTERN(StructuredBindingsByReference, 7) {
  auto&& [a, b] = co_await two();
  const auto& [t, i] = co_await tuple();
  const int got = co_await step(a.get());
  co_return got + b.get() + t.get() + i;
}
PATTERN(LifetimeExtension, 4) {
  const Object& a = co_await object(1);
  auto&& b = co_await object(2);
  const int got = co_await step();
  co_return got + a.get() + b.get();
}
PATTERN(MembersOfAnAwaitedTemporary, 6) {
  co_return (co_await object(1)).get() + (co_await two()).second.get() +
      static_cast<int>((co_await vector()).size());
}
PATTERN(Containers, 5) {
  std::vector<Object> objects;
  objects.push_back(co_await object(1));
  objects.emplace_back(co_await step());
  std::map<int, Object> map;
  map.emplace(co_await step(), co_await object(2));
  const auto unique = std::make_unique<Object>(co_await step());
  co_return objects[0].get() + objects[1].get() + unique->get() + map.begin()->second.get();
}
PATTERN(Arrays, 6) {
  const int numbers[] = {co_await step(1), co_await step(2)};
  const std::array<Object, 2> first = {co_await object(1), co_await object(2)};
  const Object second[2] = {Object(1), co_await object(3)};
  co_return numbers[0] + first[1].get() + second[1].get();
}
PATTERN(OptionalsAndVariants, 4) {
  std::optional<Object> maybe;
  maybe = co_await object(1);
  maybe.emplace(co_await step());
  const std::variant<int, Object> either = co_await object(3);
  co_return maybe->get() + std::get<Object>(either).get();
}
PATTERN(LocalTypesStaticsAndConstants, 13) {
  static constexpr int kThree = 3;
  constexpr int kFour = 4;
  struct Local {
    int get() const { return object.get(); }
    Object object;
  };
  using Int = int;
  const Int numbers[] = {1, kThree, kFour};
  const Local local{Object(2)};
  const int got = co_await step(numbers[1]);
  co_return got + numbers[2] + local.get() + kFour;
}
PATTERN(AFrameLargerThanThePoolKeeps, 2) {
  alignas(16) std::array<unsigned char, 20000> large{};
  large[3] = 1;
  const int got = co_await step();
  const auto misalignment = reinterpret_cast<std::uintptr_t>(large.data()) % 16;
  co_return got + large[3] + static_cast<int>(misalignment);
}

// ---- Expressions

PATTERN(CommasCastsAndUnaryOperators, 1) {
  (void)co_await object(1);
  static_cast<void>(co_await step());
  int sum = (co_await step_void(), co_await step());
  sum += -co_await step() + (!co_await step() ? 1 : 0);
  sum += co_await step() != 0 ? 1 : 2;
  co_return sum;
}
PATTERN(CompoundAssignments, 11) {
  int sum = 1;
  sum += co_await step();
  int numbers[4] = {};
  numbers[co_await step(1)] += co_await step(2);
  numbers[0] = numbers[1] + co_await take(Object(3));
  std::map<int, int> map;
  map[co_await step()] = co_await step();
  map[2] += co_await step();
  co_return sum + numbers[0] + map[1];
}
PATTERN(StringConcatenation, 31) {
  const std::string text = std::string("aaaaaaaaaaaaaaaaaaaaaaaaaaa") +
                           std::to_string(co_await step()) + "xx" +
                           std::to_string(co_await take_string("yy"));
  co_return static_cast<int>(text.size());
}
PATTERN(AssertAndFunctionName, 2) {
  const int got = co_await step();
  assert(got > 0);
  const std::string name = __func__;
  co_return got + (name.empty() ? 0 : 1);
}

// ---- Results and errors

PATTERN(PlainResults, 21) {
  const int a = co_await plain(1);
  const Object b = co_await plain_object(2);
  Result<Object> named = plain_object(3);
  const Object c = co_await std::move(named);
  co_return a + b.get() + c.get() +
      sum_of(Object(1), co_await plain(2), co_await plain_object(4), 8);
}
PATTERN(AResultOfAnAwait, 1) { co_return co_await plain(co_await step()); }
PATTERN(Observing, 7) {
  const Result<int> first = co_await take(Object(1)).result();
  const Result<Object> second = co_await object(2).result();
  if (!first || !second) co_return -1;
  co_return *first + second->get() + (co_await object(3).result()).value_or(Object(30)).get();
}
PATTERN(ObservingInAnIf, 1) {
  if (const Result<Object> result = co_await object(1).result(); !result) {
    const Object inner;
    co_return co_await step(result.error().os_error());
  } else {
    co_return result->get();
  }
}
PATTERN(ObservingAndPassingOn, 2) {
  Result<Object> result = co_await object(2).result();
  const Object late(1);
  co_await yield();
  const Object got = co_await std::move(result);
  co_return got.get();
}
PATTERN(AwaitingFail, 3) {
  auto may_fail = [](int value) -> Task<void> {
    const Object inner(value);
    if (value != 0) co_await fail(ErrorKind::no_space, "full");
  };
  const Result<void> fails = co_await may_fail(1).result();
  const Result<void> succeeds = co_await may_fail(0).result();
  const int kinds = (!fails && fails.error().kind() == ErrorKind::no_space ? 1 : 0);
  co_return kinds + (succeeds ? 1 : 0) + co_await step();
}
PATTERN(AnEarlyReturnOfAnError, 2) {
  Result<int> first = co_await step().result();
  if (!first) co_return fail(std::move(first.error()));
  Result<int> second = plain();
  if (!second) co_return std::unexpected(std::move(second).error());
  co_return *first + *second;
}
PATTERN(CoReturnOfAnAggregate, 6) {
  auto explicitly = []() -> Task<Aggregate> {
    const Object inner(1);
    co_return Aggregate{Object(2), 3};
  };
  auto braced = []() -> Task<Aggregate> { co_return {Object(2), 3}; };
  const Aggregate a = co_await explicitly();
  const Aggregate b = co_await braced();
  co_return a.object.get() + b.number + co_await step();
}

// ---- Methods, groups, locks, awaiters

PATTERN(VirtualAndConstMethods, 36) {
  Derived derived;
  Base& base = derived;
  co_return co_await base.run(Object(1)) + co_await derived.constant() +
      co_await std::make_unique<Derived>()->run(make_object(3)) + co_await Derived().constant();
}
PATTERN(AGroupWithTemporariesInSpawn, 20) {
  int total = 0;
  const Object object(2);
  auto add = [](int number, Object argument, int& sum) -> Task<void> {
    sum += co_await take(std::move(argument)) + number;
  };
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (int i = 1; i < 4; ++i) co_await group.spawn(add(i, Object(i), total));
  };
  co_await with_group(2, body);
  co_return total + object.get();
}
PATTERN(GuardsOfAMutex, 3) {
  AsyncMutex mutex;
  int sum = 0;
  {
    const auto guard = co_await mutex.lock();
    sum += co_await step();
  }
  {
    [[maybe_unused]] const auto guard = co_await mutex.lock();
    const Object inner;
    sum += co_await take(Object(1));
  }
  co_return sum;
}
PATTERN(AnAggregateAwaiter, 4) {
  struct Awaiter {
    RunLoop* loop;
    bool await_ready() { return false; }
    void await_suspend(std::coroutine_handle<> handle) { loop->post(handle); }
    int await_resume() { return 3; }
  };
  co_return co_await Awaiter{&RunLoop::current()} + co_await step();
}

}  // namespace
}  // namespace platter

// NOLINTEND
