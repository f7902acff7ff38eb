// Random sequences with snapshots, on images that qemu-img and platter take turns with, against what
// the image and each snapshot should hold.
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/snapshot_tools.h"
#include "tests/support/disk_files.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using test::Bytes;
using test::SnapshotRig;
using test::SnapshotSet;

class SnapshotsRandom : public testing::TestWithParam<SnapshotSet> {
 protected:
  void SetUp() override {
    if (!platter::test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  }

  void qemu(const std::vector<std::string>& words) {
    std::vector<std::string> argv{"qemu-img"};
    argv.insert(argv.end(), words.begin(), words.end());
    const auto result = platter::test::run_command({.argv = argv});
    EXPECT_TRUE(result.ok()) << words[0] << " " << words[1] << ": " << result.out << result.err;
  }

  std::string some_snapshot() {
    const auto& snapshots = rig_.model().snapshots;
    auto at = snapshots.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(rig_.below(snapshots.size())));
    return at->first;
  }

  // How many snapshots leave room for one more to be taken or applied.
  std::size_t most() const { return GetParam().options.refcount_bits == 2 ? 1 : 5; }

  void step(Qcow2Image& image) {
    const std::size_t count = rig_.model().snapshots.size();
    switch (rig_.below(6)) {
      case 0:
        if (count < most()) rig_.snapshot(image, "s" + std::to_string(++named_));
        break;
      case 1:
        if (count > 0) rig_.remove(image, some_snapshot());
        break;
      case 2:
        if (count > 0) rig_.apply(image, some_snapshot());
        break;
      default: rig_.write_some(image, GetParam().compressed);
    }
  }

  // The same by qemu-img, on the same bytes.
  void step_by_qemu() {
    platter::test::write_disk(path_, rig_.file().live());
    const std::size_t count = rig_.model().snapshots.size();
    const std::uint64_t what = rig_.below(3);
    if (what == 0 && count < most()) {
      const std::string name = "q" + std::to_string(++named_);
      qemu({"snapshot", "-c", name, path_});
      rig_.model().snapshots[name] = rig_.model().active;
    } else if (what == 1 && count > 0) {
      const std::string name = some_snapshot();
      qemu({"snapshot", "-d", name, path_});
      rig_.model().snapshots.erase(name);
    } else if (what == 2 && count > 0) {
      const std::string name = some_snapshot();
      qemu({"snapshot", "-a", name, path_});
      rig_.model().active = rig_.model().snapshots[name];
    }
    rig_.use(platter::test::read_disk(path_));
  }

  Bytes raw_of(const std::vector<std::string>& options) {
    std::vector<std::string> words{"convert", "-O", "raw"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {path_, path_ + ".raw"});
    qemu(words);
    const platter::test::Disk disk = platter::test::read_disk(path_ + ".raw");
    return disk.bytes();
  }

  void judge() {
    platter::test::write_disk(path_, rig_.file().live());
    qemu({"check", path_});
    EXPECT_EQ(raw_of({}), rig_.model().active);
    for (const auto& [name, contents] : rig_.model().snapshots) {
      EXPECT_EQ(raw_of({"-l", "snapshot.name=" + name}), contents) << name;
    }
    EXPECT_EQ(rig_.look(), rig_.model());
  }

  platter::test::TempDir folder_;
  std::string path_ = folder_ / "image";
  SnapshotRig rig_{platter::test::test_seed()};
  std::uint64_t named_ = 0;
};

TEST_P(SnapshotsRandom, SequencesAgreeWithAModelAndWithQemu) {
  rig_.create(GetParam().options);
  for (int round = 0; round < 12 && !HasFailure(); ++round) {
    const auto image = rig_.open(/*writable=*/true, GetParam().memory_max);
    ASSERT_TRUE(image);
    for (int i = 0; i < 8 && !HasFailure(); ++i) step(*image);
    rig_.must(image->close(), "close");
    rig_.expect_clean();
    if (round % 3 == 2) judge();
    if (!HasFailure() && round % 3 != 0) step_by_qemu();
  }
  judge();
}

INSTANTIATE_TEST_SUITE_P(Options, SnapshotsRandom, testing::ValuesIn(test::snapshot_sets()),
                         [](const auto& set) { return set.param.name; });

}  // namespace
}  // namespace platter::qcow2
