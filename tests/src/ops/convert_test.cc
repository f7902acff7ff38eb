#include "src/ops/convert.h"

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/loop_device.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class Convert : public FileTest {
 protected:
  Convert() {
    bytes_.resize(8 * kMiB);
    fill_random(std::span(bytes_).subspan(kMiB, 2 * kMiB), 1);
    fill_random(std::span(bytes_).subspan(6 * kMiB, 300'000), 2);
    write_file(source_, std::span(bytes_).first(7 * kMiB), bytes_.size());
  }

  ConvertOptions options() const {
    ConvertOptions options;
    options.sources = {source_};
    options.target = target_;
    options.reflink = false;
    return options;
  }
  Result<ConvertResult> try_convert(ConvertOptions options) {
    return run(convert(std::move(options)));
  }
  ConvertResult convert_all(ConvertOptions options) {
    Result<ConvertResult> result = try_convert(std::move(options));
    expect_ok(result);
    return result ? *result : ConvertResult();
  }
  std::vector<std::string> names() const { return names_in(folder_.path()); }

  Bytes bytes_;
  std::string source_ = folder_ / "source";
  std::string target_ = folder_ / "target";
};

TEST_F(Convert, TheTargetIsEqualAndSparse) {
  const ConvertResult result = convert_all(options());
  EXPECT_FALSE(result.reflinked);
  EXPECT_TRUE(read_file(target_) == bytes_);
  EXPECT_LE(status_of(target_).used, 2 * kMiB + 400 * kKiB);
}

TEST_F(Convert, WithoutASparseSizeAllIsAllocated) {
  ConvertOptions all = options();
  all.copy.sparse_size = 0;
  convert_all(all);
  EXPECT_TRUE(read_file(target_) == bytes_);
  EXPECT_GE(status_of(target_).used, bytes_.size());
}

TEST_F(Convert, PreallocationReservesAll) {
  for (const Preallocation mode : {Preallocation::falloc, Preallocation::full}) {
    ConvertOptions reserved = options();
    reserved.target = folder_ / std::string(to_string(mode));
    reserved.preallocation = mode;
    convert_all(reserved);
    EXPECT_TRUE(read_file(reserved.target) == bytes_);
    EXPECT_GE(status_of(reserved.target).used, bytes_.size());
  }
}

TEST_F(Convert, AnOddSourceGivesATargetOfWholeSectors) {
  bytes_ = random_bytes(100'001, 3);
  write_file(source_, bytes_);
  convert_all(options());
  bytes_.resize(align_up(bytes_.size(), 512));
  EXPECT_TRUE(read_file(target_) == bytes_);
}

TEST_F(Convert, AnEmptySourceGivesAnEmptyTarget) {
  write_file(source_, {});
  convert_all(options());
  EXPECT_TRUE(status_of(target_).exists);
  EXPECT_EQ(status_of(target_).size, 0U);
}

TEST_F(Convert, SourcesFollowEachOther) {
  const std::string second = folder_ / "second";
  Bytes more = random_bytes(70'000, 4);
  write_file(second, more);
  ConvertOptions two = options();
  two.sources = {source_, second, source_};
  two.reflink = true;
  convert_all(two);
  Bytes expected = bytes_;
  more.resize(align_up(more.size(), 512));
  expected.insert(expected.end(), more.begin(), more.end());
  expected.insert(expected.end(), bytes_.begin(), bytes_.end());
  EXPECT_TRUE(read_file(target_) == expected);
}

TEST_F(Convert, AnExistingTargetIsMadeAnewInPlace) {
  for (const std::uint64_t size : {std::uint64_t{100}, 20 * kMiB}) {
    write_file(target_, random_bytes(size, 5));
    const FileStatus before = status_of(target_);
    convert_all(options());
    EXPECT_EQ(status_of(target_).inode, before.inode);
    EXPECT_TRUE(read_file(target_) == bytes_);
  }
}

TEST_F(Convert, IntoAnExistingImageOnlyItsBeginningChanges) {
  const Bytes before = random_bytes(10 * kMiB, 6);
  write_file(target_, before);
  ConvertOptions into = options();
  into.target_mode = TargetMode::existing;
  convert_all(into);
  Bytes expected = bytes_;
  expected.insert(expected.end(), before.begin() + std::ssize(bytes_), before.end());
  EXPECT_TRUE(read_file(target_) == expected);
}

TEST_F(Convert, AnExistingImageMustBeThereAndLargeEnough) {
  ConvertOptions into = options();
  into.target_mode = TargetMode::existing;
  expect_error(try_convert(into), ErrorKind::not_found);
  EXPECT_FALSE(status_of(target_).exists);
  const Bytes before = random_bytes(kMiB, 6);
  write_file(target_, before);
  expect_error(try_convert(into), ErrorKind::no_space);
  EXPECT_TRUE(read_file(target_) == before);
}

TEST_F(Convert, ADanglingLinkMakesTheFileItPointsAt) {
  const std::string link = folder_ / "link";
  ASSERT_EQ(::symlink("target", link.c_str()), 0);
  ConvertOptions through = options();
  through.target = link;
  convert_all(through);
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_TRUE(read_file(target_) == bytes_);
}

TEST_F(Convert, ASourceIsNeverItsOwnTarget) {
  const std::string symbolic = folder_ / "symbolic";
  const std::string hard = folder_ / "hard";
  ASSERT_EQ(::symlink(source_.c_str(), symbolic.c_str()), 0);
  ASSERT_EQ(::link(source_.c_str(), hard.c_str()), 0);
  for (const std::string& name : {source_, symbolic, hard}) {
    for (const TargetMode mode : {TargetMode::create, TargetMode::existing}) {
      for (const bool force_share : {false, true}) {
        ConvertOptions onto = options();
        onto.target = name;
        onto.target_mode = mode;
        onto.force_share = force_share;
        expect_error(try_convert(onto), ErrorKind::in_use);
      }
    }
  }
  EXPECT_TRUE(read_file(source_) == bytes_);
}

TEST_F(Convert, ATargetInUseIsRefused) {
  write_file(target_, bytes_);
  Result<OpenedImage> user = run(open_image(target_, {.purpose = OpenPurpose::write}, {}));
  ASSERT_TRUE(user);
  for (const TargetMode mode : {TargetMode::create, TargetMode::existing}) {
    ConvertOptions busy = options();
    busy.target_mode = mode;
    expect_error(try_convert(busy), ErrorKind::in_use);
  }
  expect_ok(run(user->image->close()));
  EXPECT_TRUE(read_file(target_) == bytes_);
}

TEST_F(Convert, ASourceThatSomeoneWritesIsRefusedUnlessShared) {
  Result<OpenedImage> user = run(open_image(source_, {.purpose = OpenPurpose::write}, {}));
  ASSERT_TRUE(user);
  expect_error(try_convert(options()), ErrorKind::in_use);
  EXPECT_EQ(names(), std::vector<std::string>{"source"});
  ConvertOptions shared = options();
  shared.force_share = true;
  convert_all(shared);
  expect_ok(run(user->image->close()));
}

TEST_F(Convert, AFailedConversionLeavesNoName) {
  ConvertOptions missing = options();
  missing.sources = {folder_ / "absent"};
  expect_error(try_convert(missing), ErrorKind::not_found);
  ConvertOptions second_missing = options();
  second_missing.sources.push_back(folder_ / "absent");
  expect_error(try_convert(second_missing), ErrorKind::not_found);
  ConvertOptions no_mode = options();
  no_mode.preallocation = Preallocation::metadata;
  expect_error(try_convert(no_mode), ErrorKind::unsupported);
  EXPECT_EQ(names(), std::vector<std::string>{"source"});
}

TEST_F(Convert, CancelledAtAnyMomentNoNameIsLeft) {
  write_file(source_, random_bytes(5 * kMiB, 1));
  for (std::uint64_t n = 0; n < 100; ++n) {
    CancelToken cancel;
    std::uint64_t told = 0;
    Progress progress([&](const Progress&) {
      if (told++ == n) cancel.request();
    });
    ConvertOptions stopped = options();
    stopped.copy.cancel = &cancel;
    stopped.copy.progress = &progress;
    stopped.copy.parallel = 1;
    const Result<ConvertResult> result = try_convert(stopped);
    if (result) {
      EXPECT_GT(n, 2U);
      return;
    }
    EXPECT_EQ(result.error().kind(), ErrorKind::cancelled);
    EXPECT_EQ(names(), std::vector<std::string>{"source"});
  }
  FAIL() << "the conversion never ends";
}

TEST_F(Convert, AFullFilesystemIsLeftAsItWas) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  for (const FilesystemKind kind : {FilesystemKind::tmpfs, FilesystemKind::ext4}) {
    const MountedFilesystem tiny(kind, kind == FilesystemKind::tmpfs ? kMiB : 2 * kMiB);
    const std::vector<std::string> before = names_in(tiny.path());
    write_file(source_, random_bytes(8 * kMiB, 1));
    ConvertOptions full = options();
    full.target = tiny / "target";
    expect_error(try_convert(full), ErrorKind::no_space);
    EXPECT_EQ(names_in(tiny.path()), before);
  }
}

TEST_F(Convert, BlocksAreSharedWhereTheFilesystemCan) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem xfs(FilesystemKind::xfs);
  const std::string source = xfs / "source";
  write_file(source, std::span(bytes_).first(7 * kMiB), 10 * kGiB);
  ConvertOptions sharing = options();
  sharing.sources = {source};
  sharing.target = xfs / "target";
  sharing.reflink = true;
  const auto start = std::chrono::steady_clock::now();
  const ConvertResult result = convert_all(sharing);
  EXPECT_TRUE(result.reflinked);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
  EXPECT_EQ(status_of(sharing.target).size, 10 * kGiB);
  Result<OpenedImage> opened = run(open_image(sharing.target, {}, {}));
  ASSERT_TRUE(opened);
  Bytes head(bytes_.size());
  expect_ok(run(opened->image->read(0, head)));
  expect_ok(run(opened->image->close()));
  EXPECT_TRUE(head == bytes_);

  // Not where something asks for the data itself, nor across filesystems.
  sharing.target = xfs / "copy";
  sharing.copy.sparse_size = 0;
  write_file(source, bytes_);
  EXPECT_FALSE(convert_all(sharing).reflinked);
  sharing = options();
  sharing.reflink = true;
  sharing.target = xfs / "other";
  EXPECT_FALSE(convert_all(sharing).reflinked);
  EXPECT_TRUE(read_file(sharing.target) == bytes_);
}

TEST_F(Convert, AnOddSourceIsSharedAndPadded) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem xfs(FilesystemKind::xfs);
  Bytes odd = random_bytes(100'001, 1);
  ConvertOptions sharing = options();
  sharing.sources = {xfs / "source"};
  sharing.target = xfs / "target";
  sharing.reflink = true;
  write_file(sharing.sources[0].text(), odd);
  EXPECT_TRUE(convert_all(sharing).reflinked);
  odd.resize(align_up(odd.size(), 512));
  EXPECT_TRUE(read_file(sharing.target) == odd);
  // Over what is there: in place, whatever it held.
  write_file(sharing.target, random_bytes(500'000, 2));
  EXPECT_TRUE(convert_all(sharing).reflinked);
  EXPECT_TRUE(read_file(sharing.target) == odd);
}

TEST_F(Convert, TheKernelCopiesWhereItIsAskedTo) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem xfs(FilesystemKind::xfs);
  ConvertOptions offload = options();
  offload.sources = {xfs / "source"};
  offload.target = xfs / "target";
  offload.copy.offload_copy = true;
  write_file(offload.sources[0].text(), bytes_);
  convert_all(offload);
  EXPECT_TRUE(read_file(offload.target) == bytes_);
  // Across filesystems it may not be able to.
  offload.target = target_;
  convert_all(offload);
  EXPECT_TRUE(read_file(target_) == bytes_);
}

TEST_F(Convert, ADeviceIsWrittenWholeOverWhateverItHeld) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  for (const std::uint32_t sector : {512U, 4096U}) {
    const Bytes garbage = random_bytes(9 * kMiB, 7);
    const std::string file = folder_ / "disk";
    write_file(file, garbage);
    const LoopDevice device(file, {.sector_size = sector});
    for (const TargetMode mode : {TargetMode::create, TargetMode::existing}) {
      ConvertOptions onto = options();
      onto.target = device.path();
      onto.target_mode = mode;
      convert_all(onto);
      const Bytes found = read_file(device.path());
      EXPECT_TRUE(std::equal(bytes_.begin(), bytes_.end(), found.begin()));
      EXPECT_TRUE(std::equal(found.begin() + std::ssize(bytes_), found.end(),
                             garbage.begin() + std::ssize(bytes_)));
    }
  }
}

TEST_F(Convert, ADeviceThatIsTooSmallIsNotTouched) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const Bytes garbage = random_bytes(kMiB, 7);
  const std::string file = folder_ / "disk";
  write_file(file, garbage);
  const LoopDevice device(file);
  for (const TargetMode mode : {TargetMode::create, TargetMode::existing}) {
    ConvertOptions onto = options();
    onto.target = device.path();
    onto.target_mode = mode;
    expect_error(try_convert(onto), ErrorKind::no_space);
  }
  EXPECT_TRUE(read_file(device.path()) == garbage);
}

TEST_F(Convert, EveryCacheModeGivesTheSame) {
  for (const CacheUse cache : {CacheUse::direct_if_possible, CacheUse::buffered}) {
    for (const Durability durability :
         {Durability::on_flush, Durability::every_write, Durability::never}) {
      ConvertOptions mode = options();
      mode.source_cache = cache;
      mode.target_cache = cache;
      mode.target_durability = durability;
      convert_all(mode);
      EXPECT_TRUE(read_file(target_) == bytes_);
      ::unlink(target_.c_str());
    }
  }
}

TEST_F(Convert, APolicyMayRefuseTheFormat) {
  ConvertOptions refused = options();
  refused.policy.formats = {"qcow2"};
  expect_error(try_convert(refused), ErrorKind::refused_by_policy);
  EXPECT_EQ(names(), std::vector<std::string>{"source"});
}

TEST_F(Convert, ErrorsSayWhichSideFailed) {
  ConvertOptions missing = options();
  missing.sources = {folder_ / "absent"};
  const Result<ConvertResult> result = try_convert(missing);
  ASSERT_FALSE(result);
  EXPECT_TRUE(
      result.error().message().starts_with("Could not open '" + missing.sources[0].text() + "': "))
      << result.error().message();
  ConvertOptions nowhere = options();
  nowhere.target = folder_ / "absent/target";
  const Result<ConvertResult> second = try_convert(nowhere);
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.error().message().starts_with(nowhere.target + ": error while converting raw"))
      << second.error().message();
}

}  // namespace
}  // namespace platter::test
