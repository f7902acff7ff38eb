// Committing on disks that lose power, or fail, at any operation: the overlay shows what it did.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "src/ops/commit.h"
#include "tests/src/ops/chain_rig.h"
#include "tests/support/fault_plan.h"
#include "tests/support/faulty_file.h"

namespace platter::test {
namespace {

/// A chain, and the layer that the topmost one is committed into.
struct CommitCase {
  std::string name;
  std::vector<LayerSpec> layers;
  std::size_t base = 0;

  bool immediate() const { return base + 2 == layers.size(); }
};
void PrintTo(const CommitCase& test, std::ostream* stream) { *stream << test.name; }

std::vector<CommitCase> commit_cases() {
  const auto raw = [](LayerSpec spec) {
    spec.raw = true;
    return spec;
  };
  const auto version_2 = [](LayerSpec spec) {
    spec.options.version = 2;
    return spec;
  };
  const auto subclusters = [](LayerSpec spec) {
    spec.options.extended_l2 = true;
    return spec;
  };
  return {
      {"equal", {layer("base", 200 * kKiB), layer("top", 200 * kKiB)}},
      {"small_clusters", {layer("base", 100 * kKiB, 512), layer("top", 100 * kKiB, 512)}},
      {"into_raw", {raw(layer("base", 150 * kKiB)), layer("top", 200 * kKiB)}},
      {"version_2", {version_2(layer("base", 150 * kKiB)), version_2(layer("top", 150 * kKiB))}},
      {"subclusters",
       {layer("base", 300 * kKiB), subclusters(layer("top", 300 * kKiB, 64 * kKiB))}},
      {"base_grows", {layer("base", 90 * kKiB), layer("top", 200 * kKiB)}},
      {"base_grows_over_a_longer_one",
       {layer("root", 300 * kKiB, 1024), layer("base", 90 * kKiB), layer("top", 250 * kKiB)},
       1},
      {"shorter_overlay", {layer("base", 300 * kKiB), layer("top", 100 * kKiB)}},
      {"over_a_layer",
       {layer("base", 200 * kKiB), layer("mid", 200 * kKiB), layer("top", 200 * kKiB)}},
      {"over_a_short_layer",
       {layer("base", 250 * kKiB), layer("mid", 90 * kKiB), layer("top", 300 * kKiB, 8192)}},
  };
}

class CommitOnFailingDisks : public testing::TestWithParam<CommitCase> {
 protected:
  ChainRig make_rig() { return {*ring_, folder_.path(), GetParam().layers, test_seed()}; }

  static Task<void> perform(const ChainRig& rig, Files files, CommitOptions options,
                            std::size_t base) {
    std::vector<bool> writable(files.size());
    writable.back() = true;
    writable[base] = true;
    const auto overlay = co_await rig.open(std::move(files), std::move(writable));
    const Result<CopyStats> done = co_await commit(*overlay, std::move(options)).result();
    Result<void> closed = co_await overlay->close().result();
    if (!done) co_await fail(done.error().clone());
    co_await std::move(closed);
  }
  Result<void> perform(const ChainRig& rig, Files files) {
    CommitOptions options{.empty = GetParam().immediate()};
    if (!GetParam().immediate()) options.base = rig.path(GetParam().base);
    return ring_->run(perform(rig, std::move(files), std::move(options), GetParam().base));
  }

  // The overlay is what it was; so is, up to its end, the base alone once all went well.
  void judge_success(const ChainRig& rig, Disks disks, const Bytes& before) {
    rig.check(disks, /*leaks=*/false);
    EXPECT_EQ(rig.look(disks), before);
    disks.resize(GetParam().base + 1);
    Bytes base = rig.look(disks);
    ASSERT_GE(base.size(), before.size());
    base.resize(before.size());
    EXPECT_EQ(base, before);
  }
  void judge_failure(const ChainRig& rig, const Disks& disks, const Bytes& before) {
    rig.check(disks);
    EXPECT_EQ(rig.look(disks), before);
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  TempDir folder_;
};

TEST_P(CommitOnFailingDisks, ACrashAtAnyMomentLeavesTheOverlayAsItWas) {
  ChainRig rig = make_rig();
  ASSERT_FALSE(HasFailure());
  const Bytes before = rig.look(rig.disks());
  LiveChain chain(rig.disks(), rig.below(~0U));
  std::vector<Disks> states;
  for (std::size_t i = 0; i <= rig.top(); ++i) {
    chain.file(i).before_flush([&, i] {
      for (Disks& state : chain.crash_states(i, rig, 20)) states.push_back(std::move(state));
    });
  }
  const Result<void> done = perform(rig, chain.shared());
  ASSERT_TRUE(done) << done.error().message();
  judge_success(rig, chain.live(), before);
  EXPECT_GT(states.size(), 20U);
  for (const Disks& state : states) {
    judge_failure(rig, state, before);
    if (HasFailure()) return;
  }
  std::cout << states.size() << " states" << std::endl;
}

TEST_P(CommitOnFailingDisks, AnErrorOfAnyOperationIsToldAndLeavesTheOverlayAsItWas) {
  ChainRig rig = make_rig();
  ASSERT_FALSE(HasFailure());
  const Bytes before = rig.look(rig.disks());
  bool failed = true;
  for (std::uint64_t n = 0; failed; ++n) {
    const Fault faults[] = {Fault::fails(), Fault::ends_short(ENOSPC), Fault::fails_late()};
    LiveChain chain(rig.disks(), rig.below(~0U));
    FaultPlan plan;
    plan.at(n, faults[n % 3]);
    Files files;
    for (auto& file : chain.shared()) {
      files.push_back(std::make_unique<FaultyFile>(std::move(file), plan));
    }
    const Result<void> done = perform(rig, std::move(files));
    failed = plan.faults() > 0;
    SCOPED_TRACE("operation " + std::to_string(n));
    if (!done) EXPECT_FALSE(done.error().message().empty());
    if (!failed) {
      EXPECT_GT(n, 10U);
      ASSERT_TRUE(done) << done.error().message();
      judge_success(rig, chain.live(), before);
    } else {
      judge_failure(rig, chain.live(), before);
    }
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Chains, CommitOnFailingDisks, testing::ValuesIn(commit_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace platter::test
