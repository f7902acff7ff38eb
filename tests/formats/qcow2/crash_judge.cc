#include "tests/formats/qcow2/crash_judge.h"

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <utility>

#include <gtest/gtest.h>

#include "formats/qcow2/header_sector.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/support/crash_file.h"
#include "tests/support/disk_files.h"
#include "tests/support/run_command.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2::test {

using platter::test::CrashFile;
using platter::test::Disk;

namespace {

Task<void> see_snapshots(Qcow2Image& image, Seen& seen) {
  const ImageInfo info = co_await image.info();
  for (const SnapshotInfo& snapshot : info.snapshots) {
    co_await image.show_snapshot({.id = snapshot.id, .name = snapshot.name});
    seen.snapshots.emplace(snapshot.name, co_await SnapshotRig::read_all(image));
  }
}

// Who was not told that a bitmap is inconsistent would trust it.
Task<void> expect_unreadable(Qcow2Image& image, const BitmapModels& bitmaps) {
  for (const auto& [name, model] : bitmaps) {
    if (!model.inconsistent) continue;
    const Result<DirtyBits> bits = co_await image.read_bitmap(name).result();
    EXPECT_FALSE(bits) << name;
    if (!bits) EXPECT_EQ(bits.error().kind(), ErrorKind::corrupt_image) << name;
  }
}

Task<void> see_image(Qcow2Image& image, Seen& seen) {
  seen.active = co_await SnapshotRig::read_all(image);
  seen.bitmaps = co_await look_at_bitmaps(image);
  co_await expect_unreadable(image, seen.bitmaps);
  co_await see_snapshots(image, seen);
}

// Exit code 3: leaks. 2 is for COPIED flags, too, that are not set where a count is 1; `-r leaks` sets
// them.
bool only_flags_missing(const platter::test::CommandResult& checked) {
  if (checked.exit_code == 3) return true;
  if (checked.exit_code != 2) return false;
  std::istringstream lines(checked.out + checked.err);
  for (std::string line; std::getline(lines, line);) {
    const bool flag = line.starts_with("ERROR OFLAG_COPIED") && line.ends_with("refcount=1");
    if (line.starts_with("ERROR") && !flag) return false;
  }
  return true;
}

}  // namespace

std::unique_ptr<File> CrashJudge::data_file(Disk data) const {
  if (p_.data_path.empty()) return nullptr;
  return std::make_unique<CrashFile>(std::move(data));
}

Task<Seen> CrashJudge::see_on(Disk image_disk, Disk data_disk) {
  const auto image =
      co_await open_on(std::make_unique<CrashFile>(std::move(image_disk)),
                       data_file(std::move(data_disk)), p_.backing, /*writable=*/false);
  Seen seen;
  Result<void> done = co_await see_image(*image, seen).result();
  co_await image->close();
  co_await std::move(done);
  co_return seen;
}

Seen CrashJudge::see(const Disk& image, const Disk& data, const std::string& what) {
  Result<Seen> seen = p_.ring.run(see_on(image, data));
  if (!seen) ADD_FAILURE() << what << ": " << seen.error().message();
  return seen ? *std::move(seen) : Seen();
}

void CrashJudge::put(const Disk& image, const Disk& data) {
  platter::test::write_disk(p_.path, image);
  if (!p_.data_path.empty()) platter::test::write_disk(p_.data_path, data);
}

// Whether nothing worse was found than leaks, and flags that could be set.
bool CrashJudge::qemu_check(bool repair, const std::string& what) {
  platter::test::Command command{.argv = {"qemu-img", "check", "-f", "qcow2"}};
  if (repair) command.argv.insert(command.argv.end(), {"-r", "leaks"});
  command.argv.push_back(p_.path);
  const auto checked = platter::test::run_command(command);
  const bool clean = checked.exit_code == 0;
  const bool harmless = clean || (!repair && only_flags_missing(checked));
  if (!harmless) ADD_FAILURE() << what << "\n" << checked.out << checked.err;
  return clean;
}

bool CrashJudge::has_bitmaps_extension(const Disk& image) {
  CrashFile file(image);
  const Result<Header> header = p_.ring.run(read_header(file));
  EXPECT_TRUE(header);
  return header && header->bitmaps;
}

// When QEMU 7.2 opens an image with bitmaps for repairing it forgets its snapshots: there it only
// looks, before and after a repair of our own.
void CrashJudge::repair(Recovered& recovered, const std::string& what) {
  put(recovered.image, recovered.data);
  const bool by_qemu = recovered.seen.snapshots.empty() || !has_bitmaps_extension(recovered.image);
  const bool clean = qemu_check(by_qemu, what);
  if (by_qemu) recovered.image = platter::test::read_disk(p_.path);
  if (by_qemu || clean) return;
  CrashFile file(recovered.image);
  const Result<Checked> repaired = p_.ring.run(check_file(file, Repair::leaks));
  EXPECT_TRUE(repaired) << what;
  recovered.image = file.live();
  put(recovered.image, recovered.data);
}

// PLATTER_CRASH_KEEP names a folder for states that a failure is about.
void CrashJudge::keep(const CrashState& state) const {
  const char* const folder = std::getenv("PLATTER_CRASH_KEEP");
  if (folder == nullptr) return;
  platter::test::write_disk(std::string(folder) + "/image", state.image);
  if (!p_.data_path.empty()) {
    platter::test::write_disk(std::string(folder) + "/data", state.data);
  }
}

bool CrashJudge::judge(const CrashState& state) {
  if (!judge_once(state)) return false;
  if (testing::Test::HasFailure()) keep(state);
  return true;
}

bool CrashJudge::judge_once(const CrashState& state) {
  const std::size_t hash =
      platter::test::hash_of(state.image) * 31 + platter::test::hash_of(state.data);
  if (!judged_.insert(hash).second) return false;
  Recovered recovered{
      .image = state.image, .data = state.data, .seen = see(state.image, state.data, state.what)};
  EXPECT_EQ(state.model->impossible(recovered.seen), "") << state.what;
  if (testing::Test::HasFailure()) return true;
  repair(recovered, state.what);
  if (testing::Test::HasFailure()) return true;
  // A file that the first check has left alone would be found as clean by a second one, too.
  if (platter::test::hash_of(recovered.image) != platter::test::hash_of(state.image)) {
    ++repaired_;
    // QEMU writes bitmaps anew when it closes an image, and may leave a leak of its own.
    const bool clean = qemu_check(/*repair=*/false, state.what);
    EXPECT_TRUE(clean || has_bitmaps_extension(state.image)) << state.what;
    const Seen again = see(recovered.image, recovered.data, state.what);
    EXPECT_TRUE(again.active == recovered.seen.active) << state.what;
    EXPECT_TRUE(again.snapshots == recovered.seen.snapshots) << state.what;
    EXPECT_EQ(describe(again.bitmaps), describe(recovered.seen.bitmaps)) << state.what;
  }
  grow(recovered, state.seed, state.what);
  recovered_ = std::move(recovered);
  return true;
}

// --- growing what was recovered

struct CrashJudge::Grown {
  Disk image;
  Disk data;
  Seen before;
};

// What lies behind the old end was the guest's once, and is not any more.
void CrashJudge::grow(const Recovered& recovered, std::uint64_t seed, const std::string& what) {
  Grown grown{.image = Disk(), .data = Disk(), .before = recovered.seen};
  const Result<void> done = p_.ring.run(grow_on(recovered, seed, grown));
  if (!done && done.error().kind() == ErrorKind::unsupported) return;  // v2 with snapshots
  EXPECT_TRUE(done) << what << ", grown: " << done.error().message();
  if (testing::Test::HasFailure()) return;
  ++grown_;
  const Seen seen = see(grown.image, grown.data, what + ", grown");
  EXPECT_GE(seen.active.size(), grown.before.active.size()) << what;
  grown.before.active.resize(seen.active.size());
  for (auto& [name, model] : grown.before.bitmaps) model.resize(seen.active.size());
  EXPECT_TRUE(seen.active == grown.before.active) << what << ", grown";
  EXPECT_TRUE(seen.snapshots == grown.before.snapshots) << what << ", grown";
  EXPECT_EQ(describe(seen.bitmaps), describe(grown.before.bitmaps)) << what << ", grown";
  CrashFile file(grown.image);
  const Result<Checked> checked = p_.ring.run(check_file(file));
  EXPECT_TRUE(checked && checked->clean()) << what << ", grown";
  if (checked) {
    for (const std::string& message : checked->messages) ADD_FAILURE() << what << ": " << message;
  }
}

Task<void> CrashJudge::grow_on(const Recovered& recovered, std::uint64_t seed, Grown& grown) {
  CrashFile file(recovered.image, {.name = "image", .discarded = std::byte{0xd5}});
  CrashFile data(recovered.data);
  // A check does not look at counts of what lies past the end of the file; soon it will be longer.
  co_await file.truncate(file.live().size() + 4 * kMiB);
  const Checked repaired = co_await check_file(file, Repair::leaks);
  EXPECT_EQ(repaired.report.corruptions + repaired.report.check_errors, 0U);
  std::unique_ptr<File> shared_data;
  if (!p_.data_path.empty()) shared_data = std::make_unique<platter::test::SharedFile>(data);
  const auto image = co_await open_on(std::make_unique<platter::test::SharedFile>(file),
                                      std::move(shared_data), p_.backing, /*writable=*/true);
  auto body = [&]() -> Task<void> {
    // They would be in the way.
    std::erase_if(grown.before.bitmaps,
                  [](const auto& entry) { return entry.second.inconsistent; });
    for (const auto& [name, model] : recovered.seen.bitmaps) {
      if (model.inconsistent) co_await image->bitmaps()->remove(name);
    }
    constexpr Preallocation kModes[] = {Preallocation::off, Preallocation::off,
                                        Preallocation::metadata, Preallocation::full};
    const std::uint64_t cluster = image->header().cluster_size();
    const std::uint64_t more = seed % 3 == 0 ? cluster : 700 * kKiB;
    const std::uint64_t size = align_down(image->virtual_size() + more + seed % cluster, 512);
    co_await image->resize(size, {.preallocation = kModes[seed / 3 % 4]});
  };
  Result<void> done = co_await body().result();
  Result<void> closed = co_await image->close().result();
  co_await std::move(done);
  co_await std::move(closed);
  grown.image = file.live();
  grown.data = data.live();
}

}  // namespace platter::qcow2::test
