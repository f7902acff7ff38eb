// cache_report.h, cache_users.h
#include "src/provision/cache_report.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/ring.h"
#include "src/ops/create.h"
#include "src/provision/named_lock.h"
#include "src/provision/names.h"
#include "tests/support/temp_dir.h"

namespace platter::provision {
namespace {

constexpr const char* kInstance = "0b4f1e52-3a9c-4d6e-8f00-123456789abc";
const std::string kImage(40, 'a');
const std::string kOther(40, 'b');

class CacheReportTest : public testing::Test {
 protected:
  CacheReportTest() {
    config_.instances = root_.path();
    places_ = std::make_unique<Places>(Places::make(config_).value());
    std::filesystem::create_directory(root_ / kInstance);
  }
  std::string base_path(const std::string& name) { return root_ / ("_base/" + name); }
  std::string disk_path(const std::string& name = "disk") {
    return root_ / (std::string(kInstance) + "/" + name);
  }
  // A raw base of 1 MiB, 64 KiB of which take space, last used so long ago.
  void make_base(const std::string& name, std::chrono::seconds age) {
    std::ofstream(base_path(name), std::ios::binary) << std::string(64 * kKiB, 'x');
    std::filesystem::resize_file(base_path(name), kMiB);
    set_age(name, age);
  }
  void set_age(const std::string& name, std::chrono::seconds age) {
    const timespec then{.tv_sec = std::time(nullptr) - age.count(), .tv_nsec = 0};
    const timespec times[] = {then, then};
    ASSERT_EQ(::utimensat(AT_FDCWD, base_path(name).c_str(), times, 0), 0);
  }
  void make_overlay(const std::string& path, const std::string& backing) {
    CreateOptions options{.filename = path, .format = "qcow2"};
    options.qcow2.backing_file = backing;
    options.qcow2.backing_format = "raw";
    options.size = kMiB;
    auto made = ring_->run(create_image(std::move(options)));
    ASSERT_TRUE(made) << made.error().message();
  }
  Result<PruneResult> try_prune(PruneOptions options = {}) {
    return ring_->run(prune_cache(*places_, config_, std::move(options)));
  }
  // What became of each.
  std::map<std::string, std::string> prune(PruneOptions options = {}) {
    auto result = try_prune(std::move(options));
    EXPECT_TRUE(result) << result.error().message();
    std::map<std::string, std::string> verdicts;
    if (!result) return verdicts;
    freed_ = result->freed;
    for (const PrunedBase& pruned : result->bases) {
      verdicts[pruned.base.name] = to_string(pruned.verdict);
      EXPECT_EQ(std::filesystem::exists(base_path(pruned.base.name)),
                pruned.verdict != PruneVerdict::removed);
    }
    return verdicts;
  }
  CacheReport report() { return ring_->run(look_at_cache(*places_, config_, {}, nullptr)).value(); }
  std::chrono::seconds age_of(const std::string& name) {
    for (const CachedBase& base : report().bases) {
      if (base.name == name) return base.age;
    }
    return std::chrono::seconds(-1);
  }

  static constexpr std::chrono::hours kOld{25};
  test::TempDir root_;
  Config config_;
  std::unique_ptr<Places> places_;
  std::unique_ptr<Ring> ring_ = Ring::create().value();
  std::uint64_t freed_ = 0;
};

using Verdicts = std::map<std::string, std::string>;

TEST_F(CacheReportTest, NamesTellKinds) {
  EXPECT_EQ(base_kind_of(kImage), BaseKind::image);
  EXPECT_EQ(base_kind_of(kImage + "_20"), BaseKind::resized);
  EXPECT_EQ(base_kind_of(kImage + "_"), BaseKind::other);
  EXPECT_EQ(base_kind_of(kImage + "_x"), BaseKind::other);
  EXPECT_EQ(base_kind_of(kImage + ".part"), BaseKind::partial);
  EXPECT_EQ(base_kind_of("ephemeral_20_40d1d2c"), BaseKind::ephemeral);
  EXPECT_EQ(base_kind_of("swap_512"), BaseKind::swap);
  EXPECT_EQ(base_kind_of(""), BaseKind::other);
}

TEST_F(CacheReportTest, TellsSizesAndUsers) {
  make_base(kImage, std::chrono::hours(3));
  make_base(kOther, std::chrono::hours(0));
  make_overlay(disk_path(), base_path(kImage));
  make_overlay(disk_path("disk.eph0"), base_path(kImage));
  std::ofstream(disk_path("console.log")) << "text";
  const CacheReport seen = report();
  ASSERT_EQ(seen.bases.size(), 2U);
  EXPECT_EQ(seen.bases[0].size, kMiB);
  EXPECT_GE(seen.bases[0].allocated, 64 * kKiB);
  EXPECT_LE(seen.bases[0].allocated, 256 * kKiB);
  EXPECT_EQ(seen.bases[0].user_count, 2U);
  EXPECT_NEAR(static_cast<double>(seen.bases[0].age.count()), 3 * 3600, 60);
  EXPECT_EQ(seen.bases[1].user_count, 0U);
  EXPECT_EQ(seen.size, 2 * kMiB);
  EXPECT_EQ(seen.disk_count, 3U);
  EXPECT_TRUE(seen.unreadable.empty());
}

TEST_F(CacheReportTest, WhatNothingNamesGoesWithItsLock) {
  make_base(kImage, kOld);
  make_base(kOther, std::chrono::hours(23));
  std::ofstream(root_ / ("locks/" + base_lock_name(kImage))) << "";
  EXPECT_EQ(prune(), (Verdicts{{kImage, "removed"}, {kOther, "young"}}));
  EXPECT_GE(freed_, 64 * kKiB);
  EXPECT_FALSE(std::filesystem::exists(root_ / ("locks/" + base_lock_name(kImage))));
}

TEST_F(CacheReportTest, ResizedOnesGoSooner) {
  make_base(kImage + "_20", std::chrono::minutes(61));
  make_base(kImage + "_30", std::chrono::minutes(59));
  make_base("swap_512", std::chrono::minutes(61));
  EXPECT_EQ(
      prune(),
      (Verdicts{{kImage + "_20", "removed"}, {kImage + "_30", "young"}, {"swap_512", "young"}}));
}

TEST_F(CacheReportTest, WhatADiskNamesStaysAndIsUsedNow) {
  make_base(kImage, kOld);
  make_base(kOther, kOld);
  std::filesystem::create_directory(root_ / (std::string(kInstance) + "_resize"));
  make_overlay(root_ / (std::string(kInstance) + "_resize/disk"), base_path(kImage));
  EXPECT_EQ(prune(), (Verdicts{{kImage, "used"}, {kOther, "removed"}}));
  EXPECT_LT(age_of(kImage), std::chrono::seconds(60));
}

TEST_F(CacheReportTest, ABackingFileCountsWhereverItSaysItLies) {
  make_base(kImage, kOld);
  // Another mount of the same folder, say.
  std::filesystem::create_directory(root_ / (std::string(kInstance) + "/_base"));
  const std::string elsewhere = root_ / (std::string(kInstance) + "/_base/" + kImage);
  std::filesystem::copy_file(base_path(kImage), elsewhere);
  make_overlay(disk_path(), elsewhere);
  EXPECT_EQ(prune(), (Verdicts{{kImage, "used"}}));
}

TEST_F(CacheReportTest, ADiskCountsWhereverItLies) {
  for (const char* folder : {"", "snapshots/tmp", "1/2/3/4/5/6/7/8"}) {
    make_base(kImage, std::chrono::hours(25));
    std::filesystem::create_directories(root_ / folder);
    const std::string disk = root_ / (std::string(folder) + "/delta");
    make_overlay(disk, base_path(kImage));
    EXPECT_EQ(prune()[kImage], "used") << folder;
    std::filesystem::remove(disk);
  }
  make_base(kImage, std::chrono::hours(25));
  std::filesystem::create_directories(root_ / "1/2/3/4/5/6/7/8/9");
  const auto pruned = try_prune();
  ASSERT_FALSE(pruned);
  EXPECT_NE(pruned.error().message().find("7/8/9"), std::string::npos);
}

TEST_F(CacheReportTest, AKnownImageStays) {
  make_base(kImage, kOld);
  EXPECT_EQ(prune({.known = {kImage}}), (Verdicts{{kImage, "known"}}));
  EXPECT_LT(age_of(kImage), std::chrono::seconds(60));
}

TEST_F(CacheReportTest, ADryRunChangesNothing) {
  make_base(kImage, kOld);
  make_base(kOther, kOld);
  make_overlay(disk_path(), base_path(kOther));
  EXPECT_EQ(prune({.dry_run = true}), (Verdicts{{kImage, "removable"}, {kOther, "used"}}));
  EXPECT_GE(age_of(kOther), kOld);
  EXPECT_TRUE(std::filesystem::is_empty(root_ / "locks"));
}

TEST_F(CacheReportTest, WhatAnOperationHoldsStays) {
  make_base(kImage, kOld);
  std::ofstream(base_path(kOther + ".part")) << "half";
  set_age(kOther + ".part", kOld);
  LockLedger ledger;
  LockLedger other_ledger;
  const auto held = ring_
                        ->run(NamedLock::acquire(*places_->locks, base_lock_name(kImage),
                                                 LockRank::base, ledger, {}))
                        .value();
  const auto other = ring_
                         ->run(NamedLock::acquire(*places_->locks, base_lock_name(kOther),
                                                  LockRank::base, other_ledger, {}))
                         .value();
  EXPECT_EQ(prune(), (Verdicts{{kImage, "busy"}, {kOther + ".part", "busy"}}));
}

TEST_F(CacheReportTest, WhatFetchesLeftGoes) {
  for (const char* ending : {".part", ".resume", ".converted"}) {
    std::ofstream(base_path(kImage + ending)) << "half";
    set_age(kImage + ending, kOld);
  }
  EXPECT_EQ(prune(), (Verdicts{{kImage + ".part", "removed"},
                               {kImage + ".resume", "removed"},
                               {kImage + ".converted", "removed"}}));
}

// Nobody knows what such a disk stands on.
TEST_F(CacheReportTest, NothingGoesWhileADiskCanNotBeRead) {
  make_base(kImage, kOld);
  std::ofstream(disk_path()) << "QFI\xfb broken";
  auto result = try_prune();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::refused_by_policy);
  EXPECT_NE(result.error().message().find(disk_path()), std::string::npos)
      << result.error().message();
  EXPECT_EQ(report().unreadable.size(), 1U);
  std::filesystem::remove(disk_path());
  std::filesystem::create_symlink("/etc/passwd", disk_path());
  EXPECT_EQ(try_prune().error().kind(), ErrorKind::refused_by_policy);
  std::filesystem::remove(disk_path());
  std::filesystem::create_symlink("/tmp", root_ / "linked");
  EXPECT_EQ(try_prune().error().kind(), ErrorKind::refused_by_policy);
  EXPECT_TRUE(std::filesystem::exists(base_path(kImage)));
  std::filesystem::remove(root_ / "linked");
  EXPECT_EQ(prune(), (Verdicts{{kImage, "removed"}}));
}

TEST_F(CacheReportTest, ALinkInTheCacheIsNoBase) {
  std::filesystem::create_symlink("/etc/passwd", base_path(kImage));
  EXPECT_TRUE(report().bases.empty());
  EXPECT_TRUE(prune().empty());
  EXPECT_TRUE(std::filesystem::exists("/etc/passwd"));
}

TEST_F(CacheReportTest, VerifyTellsWhatIsBad) {
  make_base(kImage, kOld);
  make_overlay(base_path(kOther), base_path(kImage));  // a base never stands on another one
  std::ofstream(base_path("swap_1.part")) << "half";
  const auto verified = ring_->run(verify_cache(*places_, config_, nullptr)).value();
  ASSERT_EQ(verified.size(), 2U);
  EXPECT_EQ(verified[0].name, kImage);
  EXPECT_EQ(verified[0].fault, "");
  EXPECT_EQ(verified[0].format, "raw");
  EXPECT_EQ(verified[0].virtual_size, kMiB);
  EXPECT_EQ(verified[1].name, kOther);
  EXPECT_NE(verified[1].fault, "");
}

TEST_F(CacheReportTest, AHostWithoutACacheHasNoBases) {
  const test::TempDir empty;
  config_.instances = empty.path();
  const Places places = Places::look(config_).value();
  EXPECT_TRUE(ring_->run(look_at_cache(places, config_, {}, nullptr))->bases.empty());
  EXPECT_TRUE(ring_->run(prune_cache(places, config_, {}))->bases.empty());
  EXPECT_TRUE(ring_->run(verify_cache(places, config_, nullptr))->empty());
}

}  // namespace
}  // namespace platter::provision
