// Amending on a disk that loses power, or fails, at any operation: an image that holds the same, or
// that has the new size; at worst leaks that a check gives back.
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/amend_tools.h"
#include "tests/support/disk_files.h"
#include "tests/support/fault_plan.h"
#include "tests/support/faulty_file.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using platter::test::CrashFile;
using platter::test::CrashPlan;
using platter::test::Disk;
using platter::test::Fault;
using platter::test::FaultPlan;
using platter::test::FaultyFile;
using test::Contents;
using test::SnapshotRig;
using test::SnapshotSet;

struct Change {
  std::string name;
  AmendOptions options;
};

std::vector<Change> changes_of(const SnapshotSet& set) {
  std::vector<Change> changes;
  const bool old = set.options.version == 2;
  if (old) {
    changes.push_back({"to version 3", {.version = 3, .lazy_refcounts = true}});
  } else if (!set.options.extended_l2) {
    changes.push_back({"to version 2", {.version = 2, .refcount_bits = 16}});
  }
  const unsigned same = old ? 3 : set.options.version;
  // Several compressed clusters share one.
  const bool many = set.compressed;
  for (const std::uint64_t bits : {64U, many ? 8U : 2U}) {
    if (bits == set.options.refcount_bits) continue;
    changes.push_back(
        {"to " + std::to_string(bits) + " bits", {.version = same, .refcount_bits = bits}});
  }
  changes.push_back({"to all of it",
                     {.version = same,
                      .size = set.options.size + 100 * kKiB,
                      .lazy_refcounts = !set.options.lazy_refcounts,
                      .refcount_bits = 32}});
  changes.push_back(
      {"to a smaller one", {.version = same, .size = 20 * kKiB, .refcount_bits = many ? 16 : 4}});
  return changes;
}

// Not all of them: each takes seconds.
std::vector<SnapshotSet> crash_sets() {
  std::vector<SnapshotSet> sets = test::amend_sets();
  std::erase_if(sets, [](const SnapshotSet& set) {
    return set.name == "default" || set.name == "prealloc" || set.name == "compressed";
  });
  return sets;
}

class AmendCrash : public testing::TestWithParam<SnapshotSet> {
 protected:
  Disk make_image(SnapshotRig& rig) {
    test::make_amendable(rig, GetParam());
    return rig.file().live();
  }
  static Contents after(Contents contents, const AmendOptions& options) {
    if (options.size) contents.active.resize(*options.size);
    return contents;
  }
  Task<void> perform(std::unique_ptr<File> file, const AmendOptions& options,
                     const SnapshotRig& rig) {
    return test::amend(std::move(file), options, GetParam().memory_max, rig.backing());
  }

  // What a crash or an error left is the one or the other; a check mends it.
  void judge(SnapshotRig& rig, const Disk& disk, const Contents& before, const Contents& after) {
    rig.use(disk);
    const Contents seen = rig.look();
    EXPECT_TRUE(seen == before || seen == after);
    rig.check(Repair::leaks);
    rig.expect_clean();
    EXPECT_EQ(rig.look(), seen);
    if (++judged_ % 16 != 0 || !platter::test::have_program("qemu-img")) return;
    const std::string path = folder_ / "image";
    platter::test::write_disk(path, disk);
    Disk backing;
    backing.write(0, rig.backing());
    platter::test::write_disk(folder_ / "backing", backing);
    const auto repaired = platter::test::run_command("qemu-img", "check", "-r", "leaks", path);
    EXPECT_EQ(repaired.exit_code, 0) << repaired.out << repaired.err;
    const auto again = platter::test::run_command("qemu-img", "check", path);
    EXPECT_EQ(again.exit_code, 0) << again.out << again.err;
  }

  platter::test::TempDir folder_;
  std::uint64_t judged_ = 0;
};

TEST_P(AmendCrash, ACrashAtAnyMomentLeavesAWholeImage) {
  SnapshotRig rig(platter::test::test_seed());
  const Disk start = make_image(rig);
  ASSERT_FALSE(HasFailure());
  const Contents before = rig.model();
  for (const Change& change : changes_of(GetParam())) {
    const Contents wanted = after(before, change.options);
    std::vector<std::pair<Disk, std::string>> states;
    std::unordered_set<std::size_t> seen;
    rig.use(start, /*yields_max=*/3);
    CrashFile& file = rig.file();
    const auto look = [&] {
      const auto take = [&](const CrashPlan& plan) {
        const Disk state = file.crash_state(plan);
        if (seen.insert(hash_of(state)).second) states.emplace_back(state, to_string(plan));
      };
      const std::vector<CrashPlan> plans = file.systematic_plans();
      const std::size_t step = plans.size() / 24 + 1;  // a part of them, where there are many
      for (std::size_t i = rig.below(step); i < plans.size(); i += step) take(plans[i]);
      for (int i = 0; i < 6; ++i) take(CrashPlan::random(rig.seed()));
    };
    file.before_flush(look);
    const Result<void> done =
        rig.run(perform(std::make_unique<platter::test::SharedFile>(file), change.options, rig));
    ASSERT_TRUE(done) << change.name << ": " << done.error().message();
    look();
    EXPECT_EQ(rig.look(), wanted) << change.name;
    rig.expect_clean();
    for (const auto& [disk, plan] : states) {
      SCOPED_TRACE(change.name + ", " + plan);
      judge(rig, disk, before, wanted);
      if (HasFailure()) return;
    }
  }
  std::cout << judged_ << " states" << std::endl;
}

TEST_P(AmendCrash, AnErrorOfAnyOperationLeavesAWholeImage) {
  SnapshotRig rig(platter::test::test_seed());
  const Disk start = make_image(rig);
  ASSERT_FALSE(HasFailure());
  const Contents before = rig.model();
  for (const Change& change : changes_of(GetParam())) {
    const Contents wanted = after(before, change.options);
    std::uint64_t step = 1;
    bool failed = true;
    for (std::uint64_t n = 0; failed; n += step) {
      const Fault faults[] = {Fault::fails(), Fault::ends_short(ENOSPC), Fault::fails_late()};
      rig.use(start);
      FaultPlan plan;
      plan.at(n, faults[n % 3]);
      auto shared = std::make_unique<platter::test::SharedFile>(rig.file());
      const Result<void> done = rig.run(
          perform(std::make_unique<FaultyFile>(std::move(shared), plan), change.options, rig));
      failed = plan.faults() > 0;
      SCOPED_TRACE(change.name + ", operation " + std::to_string(n));
      if (!failed) EXPECT_GT(n, 10U);
      const Disk left = rig.file().live();
      if (done && !failed) EXPECT_EQ(rig.look(), wanted);
      judge(rig, left, before, wanted);
      if (HasFailure()) return;
      step = 1 + n / 100;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Options, AmendCrash, testing::ValuesIn(crash_sets()),
                         [](const auto& set) { return set.param.name; });

}  // namespace
}  // namespace platter::qcow2
