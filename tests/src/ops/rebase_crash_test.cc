// Rebasing on a disk that loses power, or fails, at any operation: the overlay shows what it did.
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "src/ops/rebase.h"
#include "tests/src/ops/chain_rig.h"
#include "tests/support/disk_files.h"
#include "tests/support/fault_plan.h"
#include "tests/support/faulty_file.h"

namespace platter::test {
namespace {

/// The new backing file, the old one, and the overlay.
struct RebaseCase {
  std::string name;
  LayerSpec fresh;
  LayerSpec old;
  LayerSpec top;
  bool compress = false;
  bool flatten = false;  ///< no new backing file
};
void PrintTo(const RebaseCase& test, std::ostream* stream) { *stream << test.name; }

std::vector<RebaseCase> rebase_cases() {
  LayerSpec version_2 = layer("top", 150 * kKiB);
  version_2.options.version = 2;
  LayerSpec subclusters = layer("top", 300 * kKiB, 64 * kKiB);
  subclusters.options.extended_l2 = true;
  const auto sized = [](const char* name, std::uint64_t kib, std::uint64_t cluster = 4096) {
    return layer(name, kib * kKiB, cluster);
  };
  return {
      {"equal", sized("new", 200), sized("old", 200), sized("top", 200)},
      {"small_clusters", sized("new", 100, 512), sized("old", 100, 512), sized("top", 100, 512)},
      {"version_2", sized("new", 150), sized("old", 150), version_2},
      {"subclusters", sized("new", 300), sized("old", 300), subclusters},
      {"subclusters_compressed", sized("new", 300), sized("old", 300), subclusters, true},
      {"compressed", sized("new", 200), sized("old", 200), sized("top", 200), true},
      {"old_is_short", sized("new", 300), sized("old", 90), sized("top", 200)},
      {"new_is_short", sized("new", 90), sized("old", 300), sized("top", 200)},
      {"both_are_short", sized("new", 50), sized("old", 90), sized("top", 200)},
      {"flatten", sized("new", 100), sized("old", 100), sized("top", 120), false, true},
  };
}

class RebaseOnAFailingDisk : public testing::TestWithParam<RebaseCase> {
 protected:
  RebaseOnAFailingDisk()
      : rig_(*ring_, folder_.path(), {GetParam().old, GetParam().top}, test_seed()),
        new_rig_(*ring_, folder_.path(), {GetParam().fresh}, test_seed()) {
    write_disk(new_rig_.path(0), new_rig_.disks()[0]);  // it is opened by its name
  }

  static Task<void> perform(const ChainRig& rig, Files files, RebaseOptions options) {
    const auto overlay = co_await rig.open(std::move(files), {false, true});
    const Result<RebaseStats> done = co_await rebase(*overlay, std::move(options)).result();
    Result<void> closed = co_await overlay->close().result();
    if (!done) co_await fail(done.error().clone());
    co_await std::move(closed);
  }
  Result<void> perform(Files files) {
    RebaseOptions options{.compress = GetParam().compress};
    if (!GetParam().flatten) options.backing_name = "new";
    if (!GetParam().flatten) options.backing_format = "qcow2";
    return ring_->run(perform(rig_, std::move(files), std::move(options)));
  }

  static Task<std::string> backing_name(std::unique_ptr<File> file) {
    auto image = co_await qcow2::Qcow2Image::open(std::move(file), "top", ChainRig::kMemory);
    std::string name = image->header().backing_file.value_or("");
    co_await image->close();
    co_return name;
  }
  // The overlay, on whatever it says that it stands on. Returns that name.
  std::string judge(const Disks& disks, const Bytes& before, bool leaks = true) {
    rig_.check(disks, leaks);
    const Result<std::string> name =
        ring_->run(backing_name(std::make_unique<CrashFile>(disks.back())));
    EXPECT_TRUE(name) << name.error().message();
    if (!name) return {};
    const bool flat = name->empty();
    const Disk below = flat ? Disk() : *name == "new" ? new_rig_.disks()[0] : disks[0];
    EXPECT_EQ(flat ? look_alone(disks.back()) : rig_.look({below, disks.back()}), before);
    return *name;
  }
  static Task<Bytes> read_alone(std::unique_ptr<File> file) {
    auto image = co_await qcow2::Qcow2Image::open(std::move(file), "top", ChainRig::kMemory);
    co_await image->connect(nullptr, nullptr);
    Bytes bytes(image->virtual_size());
    co_await image->read(0, bytes);
    co_await image->close();
    co_return bytes;
  }
  Bytes look_alone(const Disk& disk) {
    return ring_->run(read_alone(std::make_unique<CrashFile>(disk))).value();
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  TempDir folder_;
  ChainRig rig_;
  ChainRig new_rig_;
};

TEST_P(RebaseOnAFailingDisk, ACrashAtAnyMomentLeavesTheOverlayAsItWas) {
  ASSERT_FALSE(HasFailure());
  const Bytes before = rig_.look(rig_.disks());
  LiveChain chain(rig_.disks(), rig_.below(~0U));
  std::vector<Disks> states;
  chain.file(1).before_flush([&] {
    for (Disks& state : chain.crash_states(1, rig_, 60)) states.push_back(std::move(state));
  });
  const Result<void> done = perform(chain.shared());
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(judge(chain.live(), before, /*leaks=*/false), GetParam().flatten ? "" : "new");
  EXPECT_GT(states.size(), 10U);
  for (const Disks& state : states) {
    judge(state, before);
    if (HasFailure()) return;
  }
  std::cout << states.size() << " states" << std::endl;
}

TEST_P(RebaseOnAFailingDisk, AnErrorOfAnyOperationIsToldAndLeavesTheOverlayAsItWas) {
  ASSERT_FALSE(HasFailure());
  const Bytes before = rig_.look(rig_.disks());
  bool failed = true;
  for (std::uint64_t n = 0; failed; ++n) {
    const Fault faults[] = {Fault::fails(), Fault::ends_short(ENOSPC), Fault::fails_late()};
    LiveChain chain(rig_.disks(), rig_.below(~0U));
    FaultPlan plan;
    plan.at(n, faults[n % 3]);
    Files files;
    for (auto& file : chain.shared()) {
      files.push_back(std::make_unique<FaultyFile>(std::move(file), plan));
    }
    const Result<void> done = perform(std::move(files));
    failed = plan.faults() > 0;
    SCOPED_TRACE("operation " + std::to_string(n));
    if (!failed) {
      EXPECT_GT(n, 10U);
      EXPECT_TRUE(done) << done.error().message();
    } else if (!done) {
      EXPECT_FALSE(done.error().message().empty());
    }
    judge(chain.live(), before, failed);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Chains, RebaseOnAFailingDisk, testing::ValuesIn(rebase_cases()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace platter::test
