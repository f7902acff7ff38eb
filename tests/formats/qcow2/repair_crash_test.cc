// Repairs that lose power, or meet an error, at any operation: the image is no worse than before,
// guests read the same, and repairing it once more leaves nothing.
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/check.h"
#include "io/run_loop.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/formats/qcow2/tiny_image.h"
#include "tests/support/crash_file.h"
#include "tests/support/disk.h"
#include "tests/support/faulty_file.h"

namespace platter::qcow2 {
namespace {

using platter::test::CrashFile;
using platter::test::CrashPlan;
using platter::test::Disk;
using platter::test::Fault;
using platter::test::FaultPlan;
using platter::test::FaultyFile;
using test::Checked;
using test::TinyImage;

struct Breakage {
  const char* name;
  unsigned order;
  bool snapshot;
  std::function<void(TinyImage&)> apply;
};

void destroy_table(TinyImage& image) {
  for (std::uint64_t i = 0; i < TinyImage::kCluster; i += 8) image.put(image.table_offset() + i, 0);
}

std::vector<Breakage> breakages() {
  return {
      {"leaks", 4, false, [](TinyImage& i) { i.add_leak(), i.add_leak(); }},
      {"count too high", 4, false, [](TinyImage& i) { i.set_refcount(i.data_cluster(2), 2); }},
      {"count too low", 4, true, [](TinyImage& i) { i.set_refcount(i.data_cluster(2), 1); }},
      {"both", 4, true,
       [](TinyImage& i) {
         i.set_refcount(i.data_cluster(2), 1);
         i.set_refcount(i.data_cluster(3), 7);
       }},
      {"count missing", 6, false, [](TinyImage& i) { i.set_refcount(i.data_cluster(2), 0); }},
      {"no table", 4, false, destroy_table},
      {"no table, many blocks", 6, true, destroy_table},
      {"table past the end", 4, true, [](TinyImage& i) { i.put(48, 1 << 30); }},
      {"block is data", 6, false,
       [](TinyImage& i) { i.put(i.table_offset() + 8, i.data_cluster(1) * TinyImage::kCluster); }},
      {"flags", 4, true,
       [](TinyImage& i) {
         i.put(i.l2_at(1), i.get(i.l2_at(1)) | TinyImage::kCopied);
         i.put(i.l1_at(0), i.get(i.l1_at(0)) | TinyImage::kCopied);
       }},
      {"flags lost", 4, false,
       [](TinyImage& i) {
         i.put(i.l2_at(1), i.get(i.l2_at(1)) & ~TinyImage::kCopied);
         i.put(i.l1_at(0), i.get(i.l1_at(0)) & ~TinyImage::kCopied);
       }},
      {"same cluster twice", 4, false, [](TinyImage& i) { i.put(i.l2_at(1), i.get(i.l2_at(2))); }},
      {"unaligned zeroes", 4, false,
       [](TinyImage& i) { i.put(i.l2_at(1), (i.get(i.l2_at(1)) & TinyImage::kCopied) | 1); }},
      {"dirty, all counts stale", 4, false,
       [](TinyImage& i) {
         i.put(72, 1);
         for (std::uint64_t c = 0; c < i.clusters(); ++c) i.set_refcount(c, c % 3);
       }},
      {"snapshot entry incomplete", 6, true,
       [](TinyImage& i) {
         i.put32(i.snapshots_offset() + 36, 0);
         std::memcpy(i.bytes.data() + i.snapshots_offset() + 40, "1one", 4);
       }},
  };
}

TinyImage broken(const Breakage& breakage) {
  TinyImage image(breakage.order, 40, breakage.snapshot);
  breakage.apply(image);
  return image;
}

Disk disk_of(const TinyImage& image) {
  Disk disk;
  disk.write(0, image.bytes);
  return disk;
}

std::uint64_t word_at(const Disk& disk, std::uint64_t at) {
  be64 word;
  disk.read(at, std::as_writable_bytes(std::span(&word, 1)));
  return word;
}

// How many ways there are to lose data by using the image: clusters that have more references than
// their count, and flags that say "the only reference" where it is not.
std::size_t dangers(const Checked& checked, const Disk& disk, const Breakage& breakage,
                    const TinyImage& image) {
  std::size_t count = 0;
  for (const std::string& message : checked.messages) {
    if (message.starts_with("ERROR cluster")) ++count;
  }
  std::map<std::uint64_t, std::uint64_t> references;
  for (std::uint64_t i = 0; i < TinyImage::kL2Entries; ++i) {
    references[word_at(disk, image.l2_at(i)) & 0x00fffffffffffe00] += breakage.snapshot ? 2 : 1;
  }
  for (std::uint64_t i = 0; i < TinyImage::kL2Entries; ++i) {
    const std::uint64_t entry = word_at(disk, image.l2_at(i));
    const bool copied = (entry & TinyImage::kCopied) != 0;
    if (copied && references[entry & 0x00fffffffffffe00] > 1) ++count;
  }
  if (breakage.snapshot && (word_at(disk, image.l1_at(0)) & TinyImage::kCopied) != 0) ++count;
  return count;
}

// What the guest reads, by the entries of the one L2 table.
std::string guest_bytes(const Disk& disk, const TinyImage& image) {
  std::string text;
  for (std::uint64_t i = 0; i < TinyImage::kL2Entries; ++i) {
    const std::uint64_t entry = word_at(disk, image.l2_at(i));
    std::byte cluster[TinyImage::kCluster] = {};
    const std::uint64_t place = entry & 0x00fffffffffffe00;
    if (place != 0 && (entry & 1) == 0) disk.read(place, cluster);
    text.append(reinterpret_cast<const char*>(cluster), sizeof cluster);
  }
  return text;
}

bool repair(File& file) {
  RunLoop loop;
  return loop.run(test::check_file(file, Repair::all)).has_value();
}

class Judge {
 public:
  Judge(const Breakage& breakage, const TinyImage& image)
      : breakage_(breakage), image_(image), guest_(guest_bytes(disk_of(image), image)) {
    dangers_ = dangers_of(disk_of(image));
  }
  static Checked check(Disk disk, Repair repair = Repair::none) {
    CrashFile file(std::move(disk));
    return check(file, repair);
  }
  static Checked check(CrashFile& file, Repair repair) {
    RunLoop loop;
    Result<Checked> checked = loop.run(test::check_file(file, repair));
    EXPECT_TRUE(checked) << checked.error().message();
    return checked ? *std::move(checked) : Checked{};
  }
  void judge(const Disk& disk, const std::string& when) const {
    SCOPED_TRACE(when);
    EXPECT_LE(dangers_of(disk), dangers_);
    EXPECT_EQ(guest_bytes(disk, image_), guest_);
    CrashFile again(disk);
    check(again, Repair::all);
    EXPECT_TRUE(check(again, Repair::none).clean());
    EXPECT_EQ(guest_bytes(again.live(), image_), guest_);
  }

 private:
  std::size_t dangers_of(const Disk& disk) const {
    return dangers(check(disk), disk, breakage_, image_);
  }
  const Breakage& breakage_;
  const TinyImage& image_;
  std::string guest_;
  std::size_t dangers_ = 0;
};

TEST(Qcow2Repair, ACrashAtAnyMomentLeavesAnImageNoWorse) {
  std::size_t states = 0;
  for (const Breakage& breakage : breakages()) {
    SCOPED_TRACE(breakage.name);
    const TinyImage image = broken(breakage);
    const Judge judge(breakage, image);
    CrashFile file(disk_of(image));
    // The states are looked at when the repair has ended: one loop runs at a time.
    std::vector<std::pair<Disk, std::string>> seen;
    const auto look = [&] {
      for (const CrashPlan& plan : file.systematic_plans()) {
        seen.emplace_back(file.crash_state(plan), to_string(plan));
      }
      for (std::uint64_t seed = 0; seed < 8; ++seed) {
        seen.emplace_back(file.crash_state(CrashPlan::random(seed)), "random");
      }
    };
    file.before_flush(look);
    Judge::check(file, Repair::all);
    look();
    for (const auto& [disk, when] : seen) judge.judge(disk, when);
    states += seen.size();
    EXPECT_EQ(file.crash_points(), 0U) << "something was never flushed";
    EXPECT_TRUE(Judge::check(file.live()).clean());
    if (HasFailure()) return;
  }
  EXPECT_GT(states, 100U);
}

TEST(Qcow2Repair, AnErrorOfAnyOperationLeavesAnImageNoWorse) {
  for (const Breakage& breakage : breakages()) {
    SCOPED_TRACE(breakage.name);
    const TinyImage image = broken(breakage);
    const Judge judge(breakage, image);
    bool failed = true;
    for (std::uint64_t n = 0; failed; ++n) {
      for (const Fault& fault : {Fault::fails(), Fault::ends_short(ENOSPC), Fault::fails_late()}) {
        auto owned = std::make_unique<CrashFile>(disk_of(image));
        const CrashFile& below = *owned;
        FaultPlan plan;
        plan.at(n, fault);
        FaultyFile file(std::move(owned), plan);
        const bool done = repair(file);
        failed = plan.faults() > 0;
        EXPECT_NE(done, failed) << "operation " << n;
        judge.judge(below.live(), "operation " + std::to_string(n));
      }
      if (HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace platter::qcow2
