// Bitmap operations on a file of which any operation fails: each bitmap is what it was, what it
// should be, or inconsistent; the guest's data are old or new.
#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/formats/qcow2/bitmap_tools.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/support/fault_plan.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2 {
namespace {

using platter::test::Disk;
using platter::test::Fault;
using platter::test::FaultPlan;
using platter::test::FaultyFile;
using test::BitmapModel;
using test::BitmapModels;
using test::BitmapRig;
using test::Bytes;

constexpr std::uint64_t kSize = 300 * kKiB;
constexpr std::uint64_t kAt = 100 * kKiB;
constexpr std::uint64_t kLength = 20 * kKiB;

struct Operation {
  const char* name;
  std::function<Task<void>(Qcow2Image&)> act;
  std::function<void(BitmapModels&)> model;
  bool writes = false;
};

Task<void> merge(Qcow2Image& image) { return BitmapRig::merge_within(image, "off", "on"); }
Task<void> write(Qcow2Image& image) {
  const Bytes data(kLength, std::byte{0x77});
  co_await image.write(kAt, data);
  co_await image.flush();
}

std::vector<Operation> operations() {
  const auto set_bits = [](BitmapModel& bitmap, bool on) {
    std::fill(bitmap.bits.begin(), bitmap.bits.end(), on);
  };
  return {
      {"add",
       [](Qcow2Image& image) {
         return image.bitmaps()->add({.name = "new", .granularity = 4 * kKiB});
       },
       [](BitmapModels& all) {
         all["new"] = {.granularity = 4 * kKiB};
         all["new"].resize(kSize);
       }},
      {"remove", [](Qcow2Image& image) { return image.bitmaps()->remove("on"); },
       [](BitmapModels& all) { all.erase("on"); }},
      {"clear", [](Qcow2Image& image) { return image.bitmaps()->clear("on"); },
       [=](BitmapModels& all) { set_bits(all["on"], false); }},
      {"enable", [](Qcow2Image& image) { return image.bitmaps()->set_enabled("off", true); },
       [](BitmapModels& all) { all["off"].enabled = true; }},
      {"disable", [](Qcow2Image& image) { return image.bitmaps()->set_enabled("on", false); },
       [](BitmapModels& all) { all["on"].enabled = false; }},
      {"merge", merge, [](BitmapModels& all) { all["off"].merge(BitmapModel(all["on"])); }},
      {"write", write, [](BitmapModels& all) { all["on"].mark(kAt, kLength); }, true},
  };
}

// Opening, the operation and closing: all of it may fail, and what failed first is told.
Task<void> perform(std::unique_ptr<File> file, const Operation& operation) {
  const auto image = co_await BitmapRig::open(std::move(file), true);
  Result<void> done = co_await operation.act(*image).result();
  Result<void> closed = co_await image->close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

class BitmapsFault : public testing::TestWithParam<unsigned> {  // cluster bits
 protected:
  // One that records, one that does not; of data that are new to both, too.
  void SetUp() override {
    rig_.create({.size = kSize, .cluster_size = std::uint64_t{1} << GetParam()});
    const auto image = rig_.open();
    rig_.add(*image, "on", 4 * kKiB);
    rig_.add(*image, "off", 16 * kKiB, /*enabled=*/false);
    rig_.write(*image, 10 * kKiB, 50 * kKiB);
    rig_.close(*image);
    start_ = rig_.file().live();
    before_ = rig_.bitmaps;
  }

  static bool is_one_of(const std::string& name, const BitmapModels& seen, const BitmapModels& a,
                        const BitmapModels& b) {
    const auto find = [&](const BitmapModels& models) {
      const auto found = models.find(name);
      return found == models.end() ? nullptr : &found->second;
    };
    const BitmapModel* const here = find(seen);
    const BitmapModel* const old = find(a);
    const BitmapModel* const wanted = find(b);
    if (here == nullptr) return old == nullptr || wanted == nullptr;
    if (here->inconsistent) return true;
    return (old != nullptr && *here == *old) || (wanted != nullptr && *here == *wanted);
  }

  // What a failed operation has left on the disk.
  void judge(const Disk& left, const BitmapModels& after, bool writes) {
    rig_.use(left);
    const Bytes old = rig_.model().active;
    const Bytes seen = rig_.look().active;
    ASSERT_EQ(seen.size(), old.size());
    for (std::size_t at = 0; at < seen.size(); ++at) {
      if (seen[at] == old[at]) continue;
      const bool is_new = writes && at >= kAt && at < kAt + kLength && seen[at] == std::byte{0x77};
      ASSERT_TRUE(is_new) << "at " << at;
    }
    const test::Checked checked = rig_.check(Repair::leaks);
    EXPECT_EQ(checked.report.corruptions + checked.report.check_errors, 0U);
    const BitmapModels bitmaps = rig_.look_at();
    for (const char* name : {"on", "off", "new"}) {
      EXPECT_TRUE(is_one_of(name, bitmaps, before_, after))
          << name << " of" << test::describe(bitmaps);
    }
    expect_told(bitmaps, seen, old);
  }

  // What has changed is dirty in a bitmap that says it is complete.
  void expect_told(const BitmapModels& bitmaps, const Bytes& seen, const Bytes& old) {
    const auto on = bitmaps.find("on");
    if (on == bitmaps.end() || on->second.inconsistent || !on->second.enabled) return;
    for (std::size_t at = 0; at < seen.size(); at += 512) {
      if (seen[at] != old[at]) ASSERT_TRUE(on->second.covers(at)) << "at " << at;
    }
  }

  BitmapRig rig_{platter::test::test_seed()};
  Disk start_;
  BitmapModels before_;
};

TEST_P(BitmapsFault, AnErrorOfAnyOperationLosesNothingUntold) {
  for (const Operation& operation : operations()) {
    BitmapModels after = before_;
    operation.model(after);
    bool failed = true;
    std::uint64_t n = 0;
    for (; failed; ++n) {
      const Fault faults[] = {Fault::fails(), Fault::ends_short(ENOSPC), Fault::fails_late()};
      SCOPED_TRACE(std::string(operation.name) + ", operation " + std::to_string(n));
      rig_.use(start_);
      FaultPlan plan;
      plan.at(n, faults[n % 3]);
      auto shared = std::make_unique<platter::test::SharedFile>(rig_.file());
      const Result<void> done =
          rig_.run(perform(std::make_unique<FaultyFile>(std::move(shared), plan), operation));
      failed = plan.faults() > 0;
      const Disk left = rig_.file().live();
      if (done) EXPECT_EQ(test::describe(rig_.look_at()), test::describe(after));
      judge(left, after, operation.writes);
      if (HasFailure()) return;
    }
    EXPECT_GT(n, 10U) << operation.name;
  }
}

INSTANTIATE_TEST_SUITE_P(ClusterBits, BitmapsFault, testing::Values(9U, 12U, 16U));

}  // namespace
}  // namespace platter::qcow2
