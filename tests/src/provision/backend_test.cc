// Both backends that keep disks in files, through their interface.
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include <gtest/gtest.h>

#include "formats/open.h"
#include "src/provision/disk_info.h"
#include "src/provision/image_backend.h"
#include "tests/src/provision/backend_rig.h"

namespace platter::provision::test {
namespace {

using Names = std::vector<std::string>;

class FileBackends : public BackendTest {};

TEST_F(FileBackends, MakeAnOverlayOverARawBase) {
  const Bytes base = random_bytes(kMiB, 1);
  BytesSource source(base);
  const auto backend = qcow2();
  const DiskReport report = provision(*backend, request(&source, 4 * kMiB));
  EXPECT_EQ(report.path, disk_path());
  EXPECT_EQ(report.format, "qcow2");
  EXPECT_EQ(report.virtual_size, 4 * kMiB);
  EXPECT_EQ(report.backing_file, path("_base/base"));
  EXPECT_EQ(report.backing_format, "raw");
  EXPECT_TRUE(report.created && report.base_fetched);
  EXPECT_TRUE(read_file(path("_base/base")) == base);
  EXPECT_EQ(names("_base"), Names{"base"});
  EXPECT_EQ(names("locks"), Names{"nova-base"});
  EXPECT_EQ(names(kInstance), (Names{"disk", "disk.info"}));
  const std::string info = R"({")" + disk_path() +
                           R"(": "qcow2"})"
                           "\n";
  const Bytes text = read_file(disk_path("disk.info"));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(text.data()), text.size()), info);
  EXPECT_EQ(ring_->run(backend->disk_size(request(nullptr, 0).name)).value(), 4 * kMiB);
}

TEST_F(FileBackends, MakeACopyOfARawBase) {
  const Bytes base = random_bytes(kMiB, 1);
  BytesSource source(base);
  const DiskReport report = provision(*flat(), request(&source, 2 * kMiB));
  EXPECT_EQ(report.format, "raw");
  EXPECT_EQ(report.virtual_size, 2 * kMiB);
  EXPECT_FALSE(report.backing_file);
  Bytes expected = base;
  expected.resize(2 * kMiB);
  EXPECT_TRUE(read_file(disk_path()) == expected);
}

TEST_F(FileBackends, FetchABaseOnceAndAskingTwiceIsHarmless) {
  for (const bool overlays : {true, false}) {
    const std::string disk = overlays ? "disk" : "other";
    BytesSource source(random_bytes(kMiB, 1));
    const auto backend = overlays ? qcow2() : flat();
    provision(*backend, request(&source, 2 * kMiB, disk));
    const Bytes before = read_file(disk_path(disk));
    const DiskReport again = provision(*backend, request(&source, 2 * kMiB, disk));
    EXPECT_FALSE(again.created || again.base_fetched || again.grown);
    EXPECT_TRUE(read_file(disk_path(disk)) == before);
    EXPECT_EQ(source.fetches, overlays ? 1 : 0);  // it is the same base
    const DiskReport grown = provision(*backend, request(&source, 3 * kMiB, disk));
    EXPECT_TRUE(grown.grown);
    EXPECT_EQ(grown.virtual_size, 3 * kMiB);
    EXPECT_EQ(provision(*backend, request(&source, kMiB, disk)).virtual_size, 3 * kMiB);
    DiskRequest must_be_new = request(&source, kMiB, disk);
    must_be_new.must_be_new = true;
    EXPECT_EQ(refusal(*backend, std::move(must_be_new)), ErrorKind::already_exists);
  }
}

TEST_F(FileBackends, ConvertABaseToRawOrKeepIt) {
  BytesSource source(qcow2_bytes(8 * kMiB, 4096));
  const auto raw = qcow2();
  EXPECT_EQ(provision(*raw, request(&source, std::nullopt)).backing_format, "raw");
  EXPECT_EQ(status_of(path("_base/base")).size, 8 * kMiB);
  EXPECT_EQ(names("_base"), Names{"base"});
  config_.force_raw = false;
  DiskRequest kept = request(&source, std::nullopt, "kept");
  kept.base->name = "kept";
  const auto backend = qcow2();
  const DiskReport report = provision(*backend, std::move(kept));
  EXPECT_EQ(report.backing_format, "qcow2");
  EXPECT_EQ(report.virtual_size, 8 * kMiB);
  const auto opened =
      ring_->run(open_image(disk_path("kept"), {.purpose = OpenPurpose::inspect}, {}));
  ASSERT_TRUE(opened);
  EXPECT_EQ(ring_->run(opened->image->info())->cluster_size, 4096U);  // the base's
  ASSERT_TRUE(ring_->run(opened->image->close()));
  DiskRequest copy = request(nullptr, 16 * kMiB, "copy");
  copy.base->name = "kept";
  const DiskReport copied = provision(*flat(), std::move(copy));
  EXPECT_EQ(copied.format, "qcow2");
  EXPECT_EQ(copied.virtual_size, 16 * kMiB);
}

TEST_F(FileBackends, RefuseASizeBelowTheBasesAndLeaveNoDisk) {
  BytesSource source(random_bytes(kMiB, 1));
  EXPECT_EQ(refusal(*qcow2(), request(&source, kMiB - 512)), ErrorKind::too_large);
  EXPECT_EQ(refusal(*flat(), request(&source, kMiB - 512)), ErrorKind::too_large);
  EXPECT_FALSE(status_of(path(kInstance)).exists);
  EXPECT_EQ(names("_base"), Names{"base"});
}

TEST_F(FileBackends, RefuseUnsafeBases) {
  BytesSource backed(qcow2_bytes(kMiB, 65536, "/etc/passwd"));
  EXPECT_EQ(refusal(*qcow2(), request(&backed, kMiB)), ErrorKind::refused_by_policy);
  EXPECT_TRUE(names("_base").empty());
  BytesSource honest(qcow2_bytes(kMiB, 65536));
  DiskRequest declared = request(&honest, kMiB);
  declared.base->declared_format = "raw";
  EXPECT_EQ(refusal(*flat(), std::move(declared)), ErrorKind::refused_by_policy);
  EXPECT_TRUE(names("_base").empty());
  EXPECT_FALSE(status_of(path(kInstance)).exists);
}

// A qcow2 image whose guest data are a qcow2 image: converted to raw, it must not be taken for that.
TEST_F(FileBackends, RefuseABaseThatTurnsIntoAnotherFormat) {
  const Bytes inner = qcow2_bytes(kMiB, 65536, "/etc/passwd");
  const TempDir folder;
  CreateOptions options{.filename = folder / "outer", .format = "qcow2", .size = kMiB};
  ASSERT_TRUE(ring_->run(create_image(std::move(options))));
  auto outer = ring_->run(
      open_image(folder / "outer", {.purpose = OpenPurpose::write, .format = "qcow2"}, {}));
  ASSERT_TRUE(outer);
  ASSERT_TRUE(ring_->run(outer->image->write(0, inner)));
  ASSERT_TRUE(ring_->run(outer->image->finish()));
  ASSERT_TRUE(ring_->run(outer->image->close()));
  BytesSource source(read_file(folder / "outer"));
  EXPECT_EQ(refusal(*qcow2(), request(&source, 2 * kMiB)), ErrorKind::refused_by_policy);
  EXPECT_TRUE(names("_base").empty());
}

TEST_F(FileBackends, GoOnWithAFetchThatBrokeWhereTheSourceCan) {
  const Bytes bytes = random_bytes(kMiB, 1);
  BytesSource source(bytes);
  source.fail_at = kMiB / 2;
  const auto backend = qcow2();
  EXPECT_EQ(refusal(*backend, request(&source, kMiB)), ErrorKind::io);
  EXPECT_TRUE(names("_base").empty());
  source.set_resumable();
  EXPECT_EQ(refusal(*backend, request(&source, kMiB)), ErrorKind::io);
  EXPECT_EQ(names("_base"), (Names{"base.part", "base.resume"}));
  source.fail_at = SIZE_MAX;
  provision(*backend, request(&source, kMiB));
  EXPECT_EQ(source.resumed_from, kMiB / 2);
  EXPECT_TRUE(read_file(path("_base/base")) == bytes);
  EXPECT_EQ(names("_base"), Names{"base"});
}

TEST_F(FileBackends, DoNotTakePartialFilesForBases) {
  ASSERT_TRUE(qcow2());  // makes the folders
  write_file(path("_base/base.part"), random_bytes(kMiB, 1));
  write_file(path("_base/base.converted"), random_bytes(kMiB, 1));
  EXPECT_EQ(refusal(*qcow2(), request(nullptr, kMiB)), ErrorKind::not_found);
  DiskRequest partial = request(nullptr, kMiB);
  partial.base->name = "base.part";
  EXPECT_EQ(refusal(*qcow2(), std::move(partial)), ErrorKind::invalid_argument);
  const Bytes bytes = random_bytes(kMiB, 2);
  BytesSource source(bytes);
  provision(*qcow2(), request(&source, kMiB));
  EXPECT_TRUE(read_file(path("_base/base")) == bytes);
  EXPECT_EQ(names("_base"), Names{"base"});
}

TEST_F(FileBackends, TouchTheBaseWithEachUse) {
  BytesSource source(random_bytes(kMiB, 1));
  provision(*qcow2(), request(&source, kMiB));
  const timespec old[2] = {{.tv_sec = 1000, .tv_nsec = 0}, {.tv_sec = 1000, .tv_nsec = 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path("_base/base").c_str(), old, 0), 0);
  provision(*qcow2(), request(&source, kMiB, "second"));
  struct stat status{};
  ASSERT_EQ(::stat(path("_base/base").c_str(), &status), 0);
  EXPECT_GT(status.st_mtime, 1000);
}

// A guest that writes another format's header into its raw disk.
TEST_F(FileBackends, BelieveWhatWasRecorded) {
  const auto backend = flat();
  BytesSource source(random_bytes(kMiB, 1));
  const DiskRequest wanted = request(&source, kMiB);
  provision(*backend, wanted);
  write_file(disk_path(), qcow2_bytes(64 * kMiB, 65536, "/etc/passwd"), kMiB);
  EXPECT_EQ(ring_->run(backend->resolve_format(wanted.name)).value(), "raw");
  EXPECT_EQ(ring_->run(backend->disk_size(wanted.name)).value(), kMiB);
  EXPECT_EQ(provision(*backend, wanted).format, "raw");
  ASSERT_TRUE(ring_->run(backend->extract({.name = wanted.name, .target = instances_ / "copy"})));
  EXPECT_TRUE(read_file(instances_ / "copy") == read_file(disk_path()));
}

TEST_F(FileBackends, RestoreABaseThatIsGone) {
  const Bytes bytes = random_bytes(kMiB, 1);
  BytesSource source(bytes);
  const auto backend = qcow2();
  provision(*backend, request(&source, kMiB));
  ASSERT_EQ(::unlink(path("_base/base").c_str()), 0);
  EXPECT_TRUE(provision(*backend, request(&source, kMiB)).base_fetched);
  EXPECT_TRUE(read_file(path("_base/base")) == bytes);
}

// As disks were made once: over a copy of the base that has the disk's size.
TEST_F(FileBackends, RestoreAResizedBaseThatIsGone) {
  const Bytes bytes = random_bytes(kMiB, 1);
  BytesSource source(bytes);
  const auto backend = qcow2();
  ASSERT_EQ(::mkdir(path(kInstance).c_str(), 0755), 0);
  CreateOptions options{.filename = disk_path(), .format = "qcow2", .size = kGiB};
  options.qcow2.backing_file = path("_base/base_1");
  options.qcow2.backing_format = "raw";
  ASSERT_TRUE(ring_->run(create_image(std::move(options))));
  provision(*backend, request(&source, kGiB));
  EXPECT_EQ(names("_base"), (Names{"base", "base_1"}));
  EXPECT_EQ(status_of(path("_base/base_1")).size, kGiB);
}

TEST_F(FileBackends, RemoveADiskAndWhatIsSaidOfIt) {
  const auto backend = qcow2();
  BytesSource source(random_bytes(kMiB, 1));
  provision(*backend, request(&source, kMiB));
  provision(*backend, request(&source, kMiB, "second"));
  const DiskName name = request(nullptr, 0).name;
  EXPECT_TRUE(ring_->run(backend->remove(name, nullptr)).value());
  EXPECT_EQ(names(kInstance), (Names{"disk.info", "second"}));
  EXPECT_FALSE(ring_->run(backend->remove(name, nullptr)).value());
  EXPECT_TRUE(ring_->run(backend->remove(request(nullptr, 0, "second").name, nullptr)).value());
  EXPECT_FALSE(status_of(path(kInstance)).exists);
  EXPECT_EQ(names("_base"), Names{"base"});
  EXPECT_FALSE(ring_->run(backend->exists(name)).value());
}

TEST_F(FileBackends, DoNotRemoveOrGrowADiskInUse) {
  const auto backend = flat();
  BytesSource source(random_bytes(kMiB, 1));
  provision(*backend, request(&source, kMiB));
  auto used = ring_->run(
      open_image(disk_path(), {.purpose = OpenPurpose::write_whole, .format = "raw"}, {}));
  ASSERT_TRUE(used);
  const auto removed = ring_->run(backend->remove(request(nullptr, 0).name, nullptr));
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().kind(), ErrorKind::in_use);
  EXPECT_EQ(refusal(*backend, request(&source, 2 * kMiB)), ErrorKind::in_use);
  provision(*backend, request(&source, kMiB));  // nothing to do: no lock needed
  ASSERT_TRUE(ring_->run(used->image->close()));
  EXPECT_EQ(names(kInstance), (Names{"disk", "disk.info"}));
}

TEST_F(FileBackends, FollowNoLinks) {
  BytesSource source(random_bytes(kMiB, 1));
  const TempDir elsewhere;
  const auto backend = qcow2();
  ASSERT_EQ(::symlink(elsewhere.path().c_str(), path(kInstance).c_str()), 0);
  EXPECT_EQ(refusal(*backend, request(&source, kMiB)), ErrorKind::refused_by_policy);
  ASSERT_EQ(::unlink(path(kInstance).c_str()), 0);
  ASSERT_EQ(::mkdir(path(kInstance).c_str(), 0755), 0);
  ASSERT_EQ(::symlink((elsewhere / "made").c_str(), disk_path().c_str()), 0);
  EXPECT_EQ(refusal(*backend, request(&source, kMiB)), ErrorKind::refused_by_policy);
  EXPECT_EQ(refusal(*flat(), request(&source, kMiB)), ErrorKind::refused_by_policy);
  EXPECT_FALSE(status_of(elsewhere / "made").exists);
  ASSERT_EQ(::unlink(disk_path().c_str()), 0);
  ASSERT_EQ(::symlink((elsewhere / "part").c_str(), path("_base/next.part").c_str()), 0);
  DiskRequest next = request(&source, kMiB);
  next.base->name = "next";
  EXPECT_EQ(refusal(*backend, std::move(next)), ErrorKind::refused_by_policy);
  EXPECT_FALSE(status_of(elsewhere / "part").exists);
}

TEST_F(FileBackends, PlanWithoutATrace) {
  BytesSource source(random_bytes(kMiB, 1));
  const auto look = Qcow2Backend::look(config_).value();
  const auto plan = ring_->run(look->plan(request(&source, 2 * kMiB)));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_TRUE(plan->created && plan->base_fetched);
  EXPECT_EQ(plan->format, "qcow2");
  EXPECT_TRUE(names("").empty());
  EXPECT_EQ(source.fetches, 0);
  provision(*qcow2(), request(&source, 2 * kMiB));
  const auto again =
      ring_->run(Qcow2Backend::look(config_).value()->plan(request(&source, 3 * kMiB)));
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->grown && !again->created);
}

TEST_F(FileBackends, MakeEmptyAndGeneratedDisks) {
  const auto backend = flat();
  DiskRequest empty{.name = DiskName::parse(kInstance, "empty").value(), .size = kMiB};
  EXPECT_EQ(provision(*backend, empty).virtual_size, kMiB);
  EXPECT_EQ(status_of(disk_path("empty")).size, kMiB);
  empty.size.reset();
  empty.name.disk = "none";
  EXPECT_EQ(refusal(*backend, empty), ErrorKind::invalid_argument);
  EXPECT_EQ(refusal(*qcow2(), empty), ErrorKind::invalid_argument);
  BytesSource source(random_bytes(kMiB, 1));
  DiskRequest generated = request(&source, 2 * kMiB, "disk.swap");
  generated.base->generated = true;
  EXPECT_EQ(provision(*backend, std::move(generated)).virtual_size, 2 * kMiB);
  EXPECT_TRUE(names("_base").empty());
}

TEST_F(FileBackends, ReserveSpaceWhereAskedTo) {
  config_.preallocate = true;
  BytesSource source(random_bytes(kMiB, 1));
  provision(*flat(), request(&source, 4 * kMiB));
  EXPECT_GE(status_of(disk_path()).used, 4 * kMiB);
  EXPECT_EQ(status_of(disk_path()).size, 4 * kMiB);
}

}  // namespace
}  // namespace platter::provision::test
