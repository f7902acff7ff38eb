// Snapshots taken, applied and deleted on a disk that loses power, or fails, at any operation: the
// state before or after, each snapshot whole, at worst leaks that a check gives back.
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/snapshot_tools.h"
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

struct Operation {
  const char* name;
  std::function<Task<void>(Qcow2Image&)> run;
  std::function<void(Contents&)> model;
};

std::vector<Operation> operations() {
  return {
      {"create",
       [](Qcow2Image& image) { return image.create_snapshot({.name = "three", .date_sec = 5}); },
       [](Contents& contents) { contents.snapshots["three"] = contents.active; }},
      {"delete first",
       [](Qcow2Image& image) { return image.delete_snapshot(SnapshotKey::by_name("one")); },
       [](Contents& contents) { contents.snapshots.erase("one"); }},
      {"delete last",
       [](Qcow2Image& image) { return image.delete_snapshot(SnapshotKey::by_name("two")); },
       [](Contents& contents) { contents.snapshots.erase("two"); }},
      {"apply", [](Qcow2Image& image) { return image.apply_snapshot(SnapshotKey::by_name("one")); },
       [](Contents& contents) { contents.active = contents.snapshots["one"]; }}};
}

// Opens, does it, closes.
Task<void> perform(std::unique_ptr<File> file, const Operation& operation,
                   std::uint64_t memory_max) {
  const auto image = co_await SnapshotRig::open(std::move(file), /*writable=*/true, memory_max);
  Result<void> done = co_await operation.run(*image).result();
  Result<void> closed = co_await image->close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

class SnapshotsCrash : public testing::TestWithParam<SnapshotSet> {
 protected:
  // An image with two snapshots, and differences between all three.
  Disk make_image(SnapshotRig& rig) {
    const SnapshotSet& set = GetParam();
    rig.create(set.options);
    const auto image = rig.open();
    for (const char* const name : {"one", "two"}) {
      rig.write_some(*image, set.compressed);
      // Two bits count the image and two snapshots, and no more while one is applied.
      if (set.options.refcount_bits == 2 && name == std::string("two")) {
        rig.must(image->write(0, test::Bytes(rig.model().active.size(), std::byte{7})), "write");
        rig.model().active.assign(rig.model().active.size(), std::byte{7});
      }
      rig.snapshot(*image, name);
    }
    rig.write_some(*image, set.compressed);
    rig.must(image->close(), "close");
    rig.expect_clean();
    EXPECT_EQ(rig.look(), rig.model());
    return rig.file().live();
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
    const auto repaired = platter::test::run_command("qemu-img", "check", "-r", "leaks", path);
    EXPECT_EQ(repaired.exit_code, 0) << repaired.out << repaired.err;
    const auto again = platter::test::run_command("qemu-img", "check", path);
    EXPECT_EQ(again.exit_code, 0) << again.out << again.err;
  }

  platter::test::TempDir folder_;
  std::uint64_t judged_ = 0;
};

TEST_P(SnapshotsCrash, ACrashAtAnyMomentLeavesTheOldStateOrTheNew) {
  SnapshotRig rig(platter::test::test_seed());
  const Disk start = make_image(rig);
  ASSERT_FALSE(HasFailure());
  const Contents before = rig.model();
  for (const Operation& operation : operations()) {
    Contents after = before;
    operation.model(after);
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
    const Result<void> done = rig.run(perform(std::make_unique<platter::test::SharedFile>(file),
                                              operation, GetParam().memory_max));
    const bool no_room = !done && done.error().kind() == ErrorKind::too_large;
    if (!done && !(no_room && GetParam().options.refcount_bits == 2)) {
      ADD_FAILURE() << operation.name << ": " << done.error().message();
    }
    look();
    if (done) EXPECT_EQ(rig.look(), after) << operation.name;
    if (no_room) EXPECT_EQ(rig.look(), before) << operation.name;
    rig.expect_clean();
    for (const auto& [disk, plan] : states) {
      SCOPED_TRACE(std::string(operation.name) + ", " + plan);
      judge(rig, disk, before, after);
      if (HasFailure()) return;
    }
  }
  std::cout << judged_ << " states" << std::endl;
}

TEST_P(SnapshotsCrash, AnErrorOfAnyOperationLeavesTheOldStateOrTheNew) {
  SnapshotRig rig(platter::test::test_seed());
  const Disk start = make_image(rig);
  ASSERT_FALSE(HasFailure());
  const Contents before = rig.model();
  for (const Operation& operation : operations()) {
    Contents after = before;
    operation.model(after);
    std::uint64_t step = 1;
    bool failed = true;
    for (std::uint64_t n = 0; failed; n += step) {
      const Fault faults[] = {Fault::fails(), Fault::ends_short(ENOSPC), Fault::fails_late()};
      const Fault& fault = faults[n % 3];
      rig.use(start);
      FaultPlan plan;
      plan.at(n, fault);
      auto shared = std::make_unique<platter::test::SharedFile>(rig.file());
      const Result<void> done = rig.run(perform(
          std::make_unique<FaultyFile>(std::move(shared), plan), operation, GetParam().memory_max));
      failed = plan.faults() > 0;
      SCOPED_TRACE(std::string(operation.name) + ", operation " + std::to_string(n));
      if (!failed) EXPECT_GT(n, 10U);
      const Disk left = rig.file().live();
      if (done && !failed) EXPECT_EQ(rig.look(), after);
      judge(rig, left, before, after);
      if (HasFailure()) return;
      step = 1 + n / 100;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Options, SnapshotsCrash, testing::ValuesIn(test::snapshot_sets()),
                         [](const auto& set) { return set.param.name; });

}  // namespace
}  // namespace platter::qcow2
