// Images on a disk that loses power at any moment: QEMU's check finds at most leaks, what was flushed
// is there, and what was not is old or new, sector by sector. Snapshots are whole, bitmaps that are
// not marked as in use know every change, and what a shrunken image has lost never comes back.
//
// PLATTER_CRASH_STATES=N looks at some N states instead of the few that CI has time for
// (scripts/crash-sim). PLATTER_SEED=N replays.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/crash_judge.h"
#include "tests/formats/qcow2/crash_sequence.h"
#include "tests/support/disk_files.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using platter::test::Disk;
using test::Bytes;
using test::CrashJudge;
using test::CrashSequence;
using test::CrashSet;
using test::CrashState;
using test::Recovered;

constexpr std::uint64_t kBackingSize = 300 * kKiB + 512;

void must_run(const platter::test::Command& command) {
  const auto done = platter::test::run_command(command);
  EXPECT_TRUE(done.ok()) << done.err;
}

class Qcow2Crash : public testing::TestWithParam<CrashSet> {
 protected:
  void SetUp() override {
    if (!platter::test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    ring_ = Ring::create().value();
    seed_ = platter::test::test_seed();
    const char* given = std::getenv("PLATTER_CRASH_STATES");
    states_wanted_ = given != nullptr ? std::strtoull(given, nullptr, 10) / kSets + 1 : 360;
    if (set().backing) {
      backing_ = platter::test::random_bytes(kBackingSize, 99);
      Disk backing;
      backing.write(0, backing_);
      platter::test::write_disk(folder_ / "backing", backing);
    }
    judge_ = std::make_unique<CrashJudge>(
        CrashJudge::Parts{.ring = *ring_,
                          .path = path_,
                          .data_path = set().data_file ? data_path_ : std::string(),
                          .backing = backing_});
  }

  static const CrashSet& set() { return GetParam(); }
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  // An image as qemu-img makes it.
  void make_image() {
    std::vector<std::string> create{"qemu-img", "create", "-q", "-f", "qcow2"};
    std::string options = set().options;
    if (set().data_file) options += (options.empty() ? "" : ",") + ("data_file=" + data_path_);
    if (!options.empty()) create.insert(create.end(), {"-o", options});
    if (set().backing) create.insert(create.end(), {"-b", folder_ / "backing", "-F", "raw"});
    create.insert(create.end(), {path_, std::to_string(set().size)});
    must_run({.argv = create});
  }

  // A guest of QEMU's writes here and there.
  void write_some() {
    std::vector<std::string> command{"qemu-io", "-f", "qcow2"};
    for (int i = 0; i < 6; ++i) {
      const std::uint64_t offset = align_down(below(set().size - 512), 512);
      const std::uint64_t most = std::min(set().size - offset, 3 * set().cluster_size);
      const std::uint64_t length = 512 + align_down(below(most), 512);
      command.insert(
          command.end(),
          {"-c", (i == 4 ? "write -z " : "write -P " + std::to_string(below(255)) + " ") +
                     std::to_string(offset) + " " +
                     std::to_string(std::min(length, set().size - offset))});
    }
    command.push_back(path_);
    must_run({.argv = command});
  }

  // Contents, a snapshot and a bitmap, all QEMU's.
  void fill_image() {
    write_some();
    if (set().snapshots_max > 0) {
      must_run({.argv = {"qemu-img", "snapshot", "-c", "qemu's", path_}});
      write_some();
    }
    if (set().version_2() || below(2) == 0) return;
    must_run({.argv = {"qemu-img", "bitmap", "--add", "-f", "qcow2", path_, "qemu's"}});
    write_some();
  }

  // Fresh, or used by QEMU, or what was left of an earlier round.
  Recovered start() {
    const std::uint64_t choice = below(3);
    if (choice == 0) {
      if (auto recovered = judge_->take_recovered()) {
        if (recovered->seen.active.size() >= 16 * kKiB) return *std::move(recovered);
      }
    }
    make_image();
    if (choice == 1) fill_image();
    Recovered made{.image = platter::test::read_disk(path_), .data = Disk(), .seen = {}};
    if (set().data_file) made.data = platter::test::read_disk(data_path_);
    made.seen = judge_->see(made.image, made.data, "as made by QEMU");
    return made;
  }

  bool take(const CrashState& state, const std::string& kind) {
    if (judge_->judge(state)) {
      ++states_;
      ++by_kind_[kind];
    }
    return states_ < states_wanted_;
  }

  void do_round(std::uint64_t round) {
    random_.seed(seed_ + round);
    Recovered begin = start();
    if (HasFailure()) return;
    CrashSequence sequence({.set = set(),
                            .ring = *ring_,
                            .backing = backing_,
                            .seed = random_(),
                            .take = [this](const CrashState& state,
                                           const std::string& kind) { return take(state, kind); }},
                           std::move(begin));
    sequence.run(40);
    if (HasFailure()) return;
    const test::Seen seen = judge_->see(sequence.image_disk(), sequence.data_disk(), "after close");
    EXPECT_EQ(sequence.model().impossible(seen), "") << "after close";
  }

  void report() const {
    std::cout << set().name << ": " << states_ << " states, " << judge_->repaired()
              << " with leaks, " << judge_->grown() << " grown;";
    const char* separator = " ";
    for (const auto& [kind, count] : by_kind_) {
      std::cout << std::exchange(separator, ", ") << kind << " " << count;
    }
    std::cout << std::endl;
  }

  static constexpr std::uint64_t kSets = 14;
  platter::test::TempDir folder_;
  std::string path_ = folder_ / "image";
  std::string data_path_ = folder_ / "data";
  Bytes backing_;
  std::unique_ptr<Ring> ring_;
  std::unique_ptr<CrashJudge> judge_;
  std::uint64_t seed_ = 0;
  std::mt19937_64 random_;
  std::uint64_t states_ = 0;
  std::uint64_t states_wanted_ = 0;
  std::map<std::string, std::uint64_t> by_kind_;  // operation in progress
};

TEST_P(Qcow2Crash, AtAnyMomentLeavesNothingWorseThanLeaks) {
  for (std::uint64_t round = 0; states_ < states_wanted_ && !HasFailure(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    do_round(round);
  }
  report();
}

INSTANTIATE_TEST_SUITE_P(
    Options, Qcow2Crash,
    testing::Values(
        CrashSet{"default", ""}, CrashSet{"c512", "cluster_size=512", 512, 100 * kKiB},
        CrashSet{"c512_rc64", "cluster_size=512,refcount_bits=64", 512, 200 * kKiB},
        CrashSet{"c4k_rc1", "cluster_size=4k,refcount_bits=1", 4 * kKiB, 200 * kKiB + 512, false,
                 false, 0},
        CrashSet{"v2", "compat=0.10,cluster_size=4k", 4 * kKiB, 300 * kKiB},
        CrashSet{"v2_backing", "compat=0.10,cluster_size=4k", 4 * kKiB, 300 * kKiB, true},
        CrashSet{"extl2", "extended_l2=on,cluster_size=16k", 16 * kKiB},
        CrashSet{"extl2_backing", "extended_l2=on,cluster_size=16k", 16 * kKiB, 400 * kKiB, true},
        CrashSet{"backing", "cluster_size=4k", 4 * kKiB, 400 * kKiB, true},
        CrashSet{"backing_64k", "", 64 * kKiB, 400 * kKiB, true},
        CrashSet{"prealloc", "preallocation=metadata,cluster_size=4k", 4 * kKiB, 300 * kKiB},
        CrashSet{"lazy", "lazy_refcounts=on,cluster_size=1k", 1 * kKiB, 200 * kKiB},
        CrashSet{"zstd", "compression_type=zstd,cluster_size=8k", 8 * kKiB},
        CrashSet{"data_file", "cluster_size=4k", 4 * kKiB, 300 * kKiB, false, true, 0}),
    [](const auto& set) { return std::string(set.param.name); });

}  // namespace
}  // namespace platter::qcow2
