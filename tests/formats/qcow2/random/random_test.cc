// Random sequences of operations on qcow2 images of all kinds, beside a model of what they should
// hold, with QEMU's tools as the judge.
//
// PLATTER_RANDOM_OPERATIONS=N does N operations for each set of options instead of the few that CI
// has time for (scripts/soak); PLATTER_SEED=N replays.
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/random/image_rig.h"
#include "tests/formats/qcow2/random/judge.h"
#include "tests/formats/qcow2/random/option_sets.h"
#include "tests/formats/qcow2/random/platter_steps.h"
#include "tests/formats/qcow2/random/qemu_steps.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"

namespace platter::qcow2 {
namespace {

using test::ImageRig;
using test::Judge;
using test::OptionSet;
using test::PlatterSteps;
using test::QemuSteps;

std::uint64_t operations_wanted(std::uint64_t otherwise) {
  const char* given = std::getenv("PLATTER_RANDOM_OPERATIONS");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
}

class Qcow2Random : public testing::TestWithParam<OptionSet> {
 protected:
  void SetUp() override {
    if (!platter::test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    rig_ = std::make_unique<ImageRig>(GetParam(), platter::test::test_seed());
    rig_->create();
  }
  void TearDown() override {
    if (HasFailure() && rig_) rig_->print_history();
  }

  // Opened, so many operations, closed.
  void operate(PlatterSteps& steps, std::uint64_t count) {
    const auto image = rig_->open(/*writable=*/true);
    ASSERT_TRUE(image);
    if (steps.done() == 0) rig_->must(steps.write_first(*image), "write");
    for (std::uint64_t i = 0; i < count && !HasFailure(); ++i) {
      const Result<void> done = rig_->run(steps.step(*image));
      EXPECT_TRUE(done) << rig_->last() << ": " << done.error().message();
    }
    rig_->note("close");
    rig_->must(image->close(), "close");
  }
  void tell(std::uint64_t operations, const std::string& more) {
    std::cout << GetParam().name << (rig_->in_memory() ? ", in memory" : ", a file") << ": "
              << operations << " operations" << more << std::endl;
  }

  std::unique_ptr<ImageRig> rig_;
};

TEST_P(Qcow2Random, WhatPlatterWritesAgreesWithTheModelAndQemuFindsNothingWrong) {
  PlatterSteps steps(*rig_);
  Judge judge(*rig_);
  const std::uint64_t wanted = operations_wanted(120);
  for (int round = 1; steps.done() < wanted && !HasFailure(); ++round) {
    operate(steps, std::min<std::uint64_t>(5 + rig_->below(40), wanted - steps.done()));
    if (!HasFailure()) judge.platter_agrees();
    if (!HasFailure() && round % 8 == 0) judge.qemu_agrees();
  }
  if (!HasFailure()) judge.qemu_agrees();
  tell(steps.done(), ", of which refused: " + std::to_string(steps.refused()));
}

TEST_P(Qcow2Random, WhatQemuWritesIsReadCheckedAndWrittenOn) {
  PlatterSteps steps(*rig_);
  QemuSteps qemu(*rig_);
  Judge judge(*rig_);
  const std::uint64_t wanted = operations_wanted(80);
  for (int round = 1; qemu.done() < wanted && !HasFailure(); ++round) {
    qemu.turn(std::min<std::uint64_t>(20 + rig_->below(60), wanted - qemu.done()));
    if (!HasFailure()) judge.platter_agrees();
    if (HasFailure() || round % 2 == 0) continue;
    operate(steps, 5 + rig_->below(10));
    if (!HasFailure()) judge.platter_agrees();
    if (!HasFailure() && round % 8 == 1) judge.qemu_agrees();
  }
  if (!HasFailure()) judge.qemu_agrees();
  tell(qemu.done(), " by QEMU, " + std::to_string(steps.done()) + " by platter");
}

INSTANTIATE_TEST_SUITE_P(Options, Qcow2Random, testing::ValuesIn(test::option_sets()),
                         [](const auto& set) { return set.param.name; });

}  // namespace
}  // namespace platter::qcow2
