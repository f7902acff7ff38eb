// Images on a disk that loses power at any moment: QEMU's check finds at most leaks, what was flushed
// is there, and what was not is old or new, sector by sector.
//
// PLATTER_CRASH_STATES=N looks at some N states instead of the few that CI has time for
// (scripts/crash-sim). PLATTER_SEED=N replays.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/qcow2_image.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/support/crash_file.h"
#include "tests/support/disk_files.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"
#include "tests/support/shared_file.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using Bytes = std::vector<std::byte>;
using test::CrashFile;
using test::CrashPlan;
using test::Disk;

struct CrashSet {
  const char* name;
  const char* options;
  std::uint64_t cluster_size = 64 * kKiB;
  std::uint64_t size = 600 * kKiB;
  bool backing = false;
  bool data_file = false;
};
void PrintTo(const CrashSet& set, std::ostream* stream) { *stream << set.name; }

constexpr std::uint64_t kBackingSize = 300 * kKiB + 512;

// What the guest may see after a crash: for each sector, and the size, any of these.
class Versions {
 public:
  void flushed(Bytes bytes) { versions_.assign(1, std::move(bytes)); }
  void add(Bytes bytes) { versions_.push_back(std::move(bytes)); }
  std::string impossible(const Bytes& seen) const {
    const bool size_known = std::ranges::any_of(
        versions_, [&](const Bytes& version) { return version.size() == seen.size(); });
    if (!size_known) return "size " + std::to_string(seen.size());
    for (std::size_t at = 0; at < seen.size(); at += 512) {
      const bool known = std::ranges::any_of(
          versions_, [&](const Bytes& version) { return same_sector(version, seen, at); });
      if (!known) return "the sector at offset " + std::to_string(at);
    }
    return {};
  }

 private:
  static bool same_sector(const Bytes& version, const Bytes& seen, std::size_t at) {
    for (std::size_t i = at; i < std::min(at + 512, seen.size()); ++i) {
      if ((i < version.size() ? version[i] : std::byte{0}) != seen[i]) return false;
    }
    return true;
  }
  std::vector<Bytes> versions_;
};

class Qcow2Crash : public testing::TestWithParam<CrashSet> {
 protected:
  void SetUp() override {
    if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
    ring_ = Ring::create().value();
    seed_ = test::test_seed();
    const char* given = std::getenv("PLATTER_CRASH_STATES");
    states_wanted_ = given != nullptr ? std::strtoull(given, nullptr, 10) / kSets : 360;
  }

  // An image as qemu-img makes it, on disks that may crash.
  void make_image() {
    const CrashSet& set = GetParam();
    std::vector<std::string> create{"qemu-img", "create", "-q", "-f", "qcow2"};
    std::string options = set.options;
    if (set.data_file) options += (options.empty() ? "" : ",") + ("data_file=" + data_path_);
    if (!options.empty()) create.insert(create.end(), {"-o", options});
    model_.assign(set.size, std::byte{0});
    if (set.backing) {
      backing_ = test::random_bytes(kBackingSize, 99);
      Disk backing;
      backing.write(0, backing_);
      test::write_disk(folder_ / "backing", backing);
      std::copy_n(backing_.begin(), std::min(backing_.size(), model_.size()), model_.begin());
      create.insert(create.end(), {"-b", folder_ / "backing", "-F", "raw"});
    }
    create.insert(create.end(), {path_, std::to_string(set.size)});
    const auto made = test::run_command({.argv = create});
    ASSERT_TRUE(made.ok()) << made.err;
    file_ = std::make_unique<CrashFile>(
        test::read_disk(path_),
        test::CrashFileOptions{
            .name = "image", .yields_max = 3, .seed = random_(), .discarded = std::byte{0xd5}});
    file_->before_flush([this] { look_at_some(); });
    if (!set.data_file) return;
    data_ = std::make_unique<CrashFile>(
        test::read_disk(data_path_),
        test::CrashFileOptions{.name = "data", .yields_max = 3, .seed = random_()});
    data_->before_flush([this] { look_at_some(); });
  }

  Task<std::unique_ptr<Qcow2Image>> open_live() {
    auto file = std::make_unique<test::SharedFile>(*file_);
    std::unique_ptr<File> data;
    if (data_) data = std::make_unique<test::SharedFile>(*data_);
    return open_on(std::move(file), std::move(data), backing_, /*writable=*/true);
  }

  Task<Bytes> guest_contents(Disk image_disk, Disk data_disk) {
    std::unique_ptr<CrashFile> data;
    if (data_) data = std::make_unique<CrashFile>(std::move(data_disk));
    const auto image = co_await open_on(std::make_unique<CrashFile>(std::move(image_disk)),
                                        std::move(data), backing_, /*writable=*/false);
    Bytes bytes(image->virtual_size());
    const Result<void> done = co_await image->read(0, bytes).result();
    co_await image->close();
    if (!done) co_return fail(done.error().clone());
    co_return bytes;
  }

  // A ring of its own: the image's ring is in the middle of something.
  Bytes read_crashed(const Disk& image_disk, const Disk& data_disk, const std::string& what) {
    Result<Bytes> bytes = fail(ErrorKind::io, "not read");
    std::thread([&] {
      const auto ring = Ring::create().value();
      bytes = ring->run(guest_contents(image_disk, data_disk));
    }).join();
    if (!bytes) ADD_FAILURE() << what << ": " << bytes.error().message();
    return bytes ? *std::move(bytes) : Bytes();
  }

  void look_at_some() {
    if (testing::Test::HasFailure() || states_ >= states_wanted_) return;
    const std::vector<CrashPlan> plans = file_->systematic_plans();
    for (int i = 0; i < 4; ++i) {
      const bool random = i >= 2 || plans.empty();
      const CrashPlan plan =
          random ? CrashPlan::random(random_()) : plans[random_() % plans.size()];
      look_at(plan, data_ ? CrashPlan::random(random_()) : plan);
      if (testing::Test::HasFailure()) return;
    }
  }

  void look_at(const CrashPlan& plan, const CrashPlan& data_plan) {
    const Disk state = file_->crash_state(plan);
    const Disk data = data_ ? data_->crash_state(data_plan) : Disk();
    if (!seen_.insert(test::hash_of(state) * 31 + test::hash_of(data)).second) return;
    ++states_;
    const std::string what = to_string(plan) + " " + what_;
    test::write_disk(path_, state);
    if (data_) test::write_disk(data_path_, data);
    const auto repaired =
        test::run_command("qemu-img", "check", "-f", "qcow2", "-r", "leaks", path_);
    EXPECT_EQ(repaired.exit_code, 0) << what << "\n" << repaired.out << repaired.err;
    const Bytes seen = read_crashed(state, data, what);
    EXPECT_EQ(versions_.impossible(seen), "") << what;
    const Disk after = test::read_disk(path_);
    if (HasFailure() || test::hash_of(after) == test::hash_of(state)) return;
    ++repaired_;
    const auto again = test::run_command("qemu-img", "check", "-f", "qcow2", path_);
    EXPECT_EQ(again.exit_code, 0) << what << "\n" << again.out << again.err;
    EXPECT_EQ(read_crashed(after, data, what), seen) << what;
  }

  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  Bytes::iterator at(Bytes& bytes, std::uint64_t offset) {
    return bytes.begin() + static_cast<std::ptrdiff_t>(offset);
  }

  // What comes next, and what the guest then sees: known before it is done.
  Task<void> step(Image& image) {
    const std::uint64_t cluster = GetParam().cluster_size;
    std::uint64_t offset = align_down(below(model_.size()), below(2) == 0 ? cluster : 512);
    std::uint64_t length = align_down(below(below(3) == 0 ? 4 * cluster : cluster), 512) + 512;
    length = std::min(length, model_.size() - offset);
    Bytes next = model_;
    switch (below(12)) {
      case 0:
      case 1:
        what_ = "flush";
        co_await image.flush();
        versions_.flushed(model_);
        co_return;
      case 2:
      case 3: {
        const auto mode = below(2) == 0 ? ZeroMode::may_unmap : ZeroMode::keep_allocated;
        what_ = "write_zeroes " + std::to_string(offset) + "+" + std::to_string(length);
        std::fill_n(at(next, offset), length, std::byte{0});
        versions_.add(next);
        co_await image.write_zeroes(offset, length, mode);
        break;
      }
      case 4: {
        what_ = "discard " + std::to_string(offset) + "+" + std::to_string(length);
        const std::uint64_t begin = align_up(offset, cluster);
        std::uint64_t end = align_down(offset + length, cluster);
        if (offset + length == model_.size()) end = model_.size();
        const bool keeps =
            GetParam().backing && std::string(GetParam().options).contains("compat=0.10");
        if (begin < end && !keeps) std::fill_n(at(next, begin), end - begin, std::byte{0});
        versions_.add(next);
        co_await image.discard(offset, length);
        break;
      }
      case 5: co_await resize(image, next); break;
      case 6: co_await write_many(image, next); break;
      case 7:
        if (data_ == nullptr) {
          co_await compressed(image, next, offset);
          break;
        }
        [[fallthrough]];
      default: {
        what_ = "write " + std::to_string(offset) + "+" + std::to_string(length);
        const Bytes data = test::random_bytes(length, random_());
        std::ranges::copy(data, at(next, offset));
        versions_.add(next);
        co_await image.write(offset, data);
      }
    }
    model_ = std::move(next);
  }

  Task<void> resize(Image& image, Bytes& next) {
    const std::uint64_t size = 512 + align_down(below(2 * GetParam().size), 512);
    what_ = "resize " + std::to_string(size);
    constexpr Preallocation kModes[] = {Preallocation::off, Preallocation::metadata,
                                        Preallocation::full};
    const auto mode = size > next.size() ? kModes[below(3)] : Preallocation::off;
    next.resize(size);
    versions_.add(next);
    co_await image.resize(size, {.preallocation = mode});
  }

  Task<void> compressed(Image& image, Bytes& next, std::uint64_t offset) {
    const std::uint64_t cluster = GetParam().cluster_size;
    offset = align_down(offset, cluster);
    const std::uint64_t length = std::min(cluster * (1 + below(3)), next.size() - offset);
    what_ = "write_compressed " + std::to_string(offset) + "+" + std::to_string(length);
    Bytes data(length, static_cast<std::byte>(random_()));
    test::fill_random(std::span(data).first(length / 3), random_());
    std::ranges::copy(data, at(next, offset));
    versions_.add(next);
    co_await image.write_compressed(offset, data);
  }

  // Several at once, side by side, and a flush between them.
  Task<void> write_many(Image& image, Bytes& next) {
    what_ = "many writes";
    const std::uint64_t cluster = GetParam().cluster_size;
    std::uint64_t offset = align_down(below(next.size()), 512);
    const std::uint64_t end = std::min(next.size(), offset + 3 * cluster);
    std::vector<std::pair<std::uint64_t, Bytes>> writes;
    while (offset < end) {
      const std::uint64_t length = std::min(512 * (1 + below(cluster / 1024 + 1)), end - offset);
      writes.emplace_back(offset, test::random_bytes(length, random_()));
      std::ranges::copy(writes.back().second, at(next, offset));
      offset += length;
    }
    versions_.add(next);
    std::ranges::shuffle(writes, random_);
    auto body = [&](TaskGroup& group) -> Task<void> {
      for (std::size_t i = 0; i < writes.size(); ++i) {
        co_await group.spawn(image.write(writes[i].first, writes[i].second));
        if (i == writes.size() / 2) co_await group.spawn(image.flush());
      }
    };
    co_await with_group(64, body);
  }

  static constexpr std::uint64_t kSets = 14;
  test::TempDir folder_;
  std::string path_ = folder_ / "image";
  std::string data_path_ = folder_ / "data";
  Bytes backing_;
  std::unique_ptr<Ring> ring_;
  std::unique_ptr<CrashFile> file_;
  std::unique_ptr<CrashFile> data_;
  std::uint64_t seed_ = 0;
  std::mt19937_64 random_;
  Bytes model_;
  Versions versions_;
  std::string what_ = "nothing";
  std::unordered_set<std::size_t> seen_;
  std::uint64_t states_ = 0;
  std::uint64_t repaired_ = 0;
  std::uint64_t states_wanted_ = 0;
};

TEST_P(Qcow2Crash, AtAnyMomentLeavesNothingWorseThanLeaks) {
  for (std::uint64_t round = 0; states_ < states_wanted_ && !HasFailure(); ++round) {
    random_.seed(seed_ + round);
    SCOPED_TRACE("round " + std::to_string(round));
    make_image();
    if (HasFatalFailure()) return;
    versions_.flushed(model_);
    std::unique_ptr<Qcow2Image> image = ring_->run(open_live()).value();
    for (int i = 0; i < 40 && !HasFailure(); ++i) {
      const Result<void> done = ring_->run(step(*image));
      ASSERT_TRUE(done) << what_ << ": " << done.error().message();
      if (i % 10 == 9) look_at_some();
    }
    what_ = "close";
    ASSERT_TRUE(ring_->run(image->close()));
    if (HasFailure()) return;
    versions_.flushed(model_);
    const Disk data = data_ ? data_->live() : Disk();
    ASSERT_EQ(versions_.impossible(read_crashed(file_->live(), data, "after close")), "");
  }
  std::cout << GetParam().name << ": " << states_ << " states, " << repaired_ << " with leaks"
            << std::endl;
}

INSTANTIATE_TEST_SUITE_P(
    Options, Qcow2Crash,
    testing::Values(
        CrashSet{"default", ""}, CrashSet{"c512", "cluster_size=512", 512, 100 * kKiB},
        CrashSet{"c512_rc64", "cluster_size=512,refcount_bits=64", 512, 200 * kKiB},
        CrashSet{"c4k_rc1", "cluster_size=4k,refcount_bits=1", 4 * kKiB, 200 * kKiB + 512},
        CrashSet{"v2", "compat=0.10,cluster_size=4k", 4 * kKiB, 300 * kKiB},
        CrashSet{"v2_backing", "compat=0.10,cluster_size=4k", 4 * kKiB, 300 * kKiB, true},
        CrashSet{"extl2", "extended_l2=on,cluster_size=16k", 16 * kKiB},
        CrashSet{"extl2_backing", "extended_l2=on,cluster_size=16k", 16 * kKiB, 400 * kKiB, true},
        CrashSet{"backing", "cluster_size=4k", 4 * kKiB, 400 * kKiB, true},
        CrashSet{"backing_64k", "", 64 * kKiB, 400 * kKiB, true},
        CrashSet{"prealloc", "preallocation=metadata,cluster_size=4k", 4 * kKiB, 300 * kKiB},
        CrashSet{"lazy", "lazy_refcounts=on,cluster_size=1k", 1 * kKiB, 200 * kKiB},
        CrashSet{"zstd", "compression_type=zstd,cluster_size=8k", 8 * kKiB},
        CrashSet{"data_file", "cluster_size=4k", 4 * kKiB, 300 * kKiB, false, true}),
    [](const auto& set) { return std::string(set.param.name); });

}  // namespace
}  // namespace platter::qcow2
