#include "formats/raw/raw_create.h"

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/memory_file.h"
#include "io/new_file.h"
#include "io/ring.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

using Bytes = std::vector<std::byte>;
using enum Preallocation;

class RawCreate : public testing::Test {
 protected:
  template <class T>
  T get(Task<T> task) {
    Result<T> result = ring_->run(std::move(task));
    if (!result) ADD_FAILURE() << result.error().message();
    if constexpr (!std::is_void_v<T>) return std::move(result).value();
  }
  template <class T>
  ErrorKind error(Task<T> task) {
    const Result<T> result = ring_->run(std::move(task));
    EXPECT_FALSE(result) << "this should fail";
    return result ? ErrorKind::io : result.error().kind();
  }
  std::unique_ptr<DirectFile> open(const TargetFile& target) {
    return get(DirectFile::open(target.path(), {.access = Access::read_write}));
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

constexpr std::uint64_t kSizes[] = {0, 512, 4096, 4608, kMiB, 3 * kMiB + 512};

TEST_F(RawCreate, AnImageIsZeroesOfItsSizeHoweverItIsAllocated) {
  for (const Preallocation mode : {off, falloc, full}) {
    for (const std::uint64_t size : kSizes) {
      SCOPED_TRACE(std::string(to_string(mode)) + " " + std::to_string(size));
      MemoryFile file;
      get(create_raw(file, size, {.preallocation = mode}));
      EXPECT_EQ(get(file.size()), size);
      EXPECT_EQ(get(read_all(file)), Bytes(size));
    }
  }
}

TEST_F(RawCreate, OnADiskTheModesTakeTheSpaceTheyShould) {
  for (const std::uint64_t size : kSizes) {
    const TargetFile sparse(Place::disk);
    const TargetFile reserved(Place::disk);
    const TargetFile written(Place::disk);
    const auto a = open(sparse);
    const auto b = open(reserved);
    const auto c = open(written);
    get(create_raw(*a, size, {}));
    get(create_raw(*b, size, {.preallocation = falloc}));
    get(create_raw(*c, size, {.preallocation = full}));
    for (DirectFile* file : {a.get(), b.get(), c.get()}) {
      get(file->flush());
      EXPECT_EQ(get(file->size()), size);
    }
    EXPECT_EQ(sparse.contents(), Bytes(size));
    EXPECT_EQ(reserved.contents(), Bytes(size));
    EXPECT_EQ(written.contents(), Bytes(size));
    EXPECT_LE(a->disk_usage().value(), 4096U) << "the first block alone";
    EXPECT_GE(b->disk_usage().value(), size);
    EXPECT_GE(c->disk_usage().value(), size);
    for (DirectFile* file : {a.get(), b.get(), c.get()}) get(file->close());
  }
}

TEST_F(RawCreate, MetadataIsNotAModeOfRawImages) {
  MemoryFile file;
  EXPECT_EQ(error(create_raw(file, 4096, {.preallocation = metadata})), ErrorKind::unsupported);
  EXPECT_EQ(get(file.size()), 0U);
}

TEST_F(RawCreate, ShrinkingTakesNoPreallocation) {
  MemoryFile file("file", 8192);
  EXPECT_EQ(error(resize_raw(file, 8192, 4096, {.preallocation = falloc})),
            ErrorKind::invalid_argument);
  EXPECT_EQ(get(file.size()), 8192U);
  get(resize_raw(file, 8192, 4096, {}));
  EXPECT_EQ(get(file.size()), 4096U);
}

TEST_F(RawCreate, GrowingKeepsWhatIsThere) {
  for (const Preallocation mode : {off, falloc, full}) {
    for (const std::uint64_t before : {std::uint64_t{1000}, std::uint64_t{4096}, kMiB + 1}) {
      Bytes bytes = random_bytes(before, 1);
      const auto file = memory_file(bytes);
      get(resize_raw(*file, before, 2 * kMiB + 700, {.preallocation = mode}));
      bytes.resize(2 * kMiB + 700);
      EXPECT_TRUE(get(read_all(*file)) == bytes) << to_string(mode) << " from " << before;
    }
  }
}

TEST_F(RawCreate, GrowingADiskFileKeepsWhatIsThere) {
  for (const Preallocation mode : {off, falloc, full}) {
    for (const std::uint64_t before : {std::uint64_t{1000}, kMiB + 1}) {
      Bytes bytes = random_bytes(before, 1);
      const TargetFile target(Place::disk, bytes);
      const auto file = open(target);
      get(resize_raw(*file, before, 2 * kMiB + 700, {.preallocation = mode}));
      get(file->close());
      bytes.resize(2 * kMiB + 700);
      EXPECT_TRUE(target.contents() == bytes) << to_string(mode) << " from " << before;
    }
  }
}

TEST_F(RawCreate, AFailureOfAnyOperationRestoresTheSize) {
  const Bytes bytes = random_bytes(5000, 1);
  for (const Preallocation mode : {off, falloc, full}) {
    const auto grow = [&](FaultPlan& plan) {
      FaultyFile file(memory_file(bytes), plan);
      const Result<void> grown =
          ring_->run(resize_raw(file, bytes.size(), 5 * kMiB, {.preallocation = mode}));
      const bool failed = !grown;
      EXPECT_EQ(get(file.size()), failed ? bytes.size() : 5 * kMiB);
      if (failed) {
        EXPECT_EQ(grown.error().os_error(), ENOSPC);
        EXPECT_TRUE(get(read_all(file.below())) == bytes);
      }
      return failed;
    };
    FaultPlan counting;
    ASSERT_FALSE(grow(counting));
    ASSERT_GT(counting.count(), 0U);
    for (std::uint64_t n = 0; n < counting.count(); ++n) {
      for (const Fault& fault : {Fault::fails(ENOSPC), Fault::ends_short(ENOSPC)}) {
        FaultPlan plan;
        plan.at(n, fault);
        EXPECT_TRUE(grow(plan)) << to_string(mode) << ", operation " << n;
      }
    }
  }
}

TEST_F(RawCreate, CancellationRestoresTheSize) {
  for (const Preallocation mode : {falloc, full}) {
    CancelToken cancel;
    cancel.request();
    MemoryFile file("file", 4096);
    EXPECT_EQ(error(resize_raw(file, 4096, 8 * kMiB, {.preallocation = mode, .cancel = &cancel})),
              ErrorKind::cancelled);
    EXPECT_EQ(get(file.size()), 4096U);
  }
}

TEST_F(RawCreate, AFullFilesystemRestoresTheSize) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  for (const FilesystemKind kind : {FilesystemKind::tmpfs, FilesystemKind::ext4}) {
    const MountedFilesystem tiny(kind, kind == FilesystemKind::tmpfs ? 2 * kMiB : 8 * kMiB);
    for (const Preallocation mode : {falloc, full}) {
      const std::string path = tiny / "file";
      auto made = get(NewFile::create(path, {}));
      const auto file = made->take_file();
      get(create_raw(*file, 64 * kKiB, {}));
      EXPECT_EQ(error(resize_raw(*file, 64 * kKiB, 64 * kMiB, {.preallocation = mode})),
                ErrorKind::no_space);
      EXPECT_EQ(get(file->size()), 64 * kKiB);
      EXPECT_LE(file->disk_usage().value(), 64 * kKiB);
      get(file->close());
    }
  }
}

TEST_F(RawCreate, ADeviceKeepsItsSize) {
  if (const auto why = missing(Place::loop512)) GTEST_SKIP() << *why;
  const Bytes bytes = random_bytes(kMiB, 1);
  const TargetFile device(Place::loop512, bytes);
  const auto file = open(device);
  get(create_raw(*file, kMiB, {}));
  get(create_raw(*file, 4096, {}));
  EXPECT_EQ(error(create_raw(*file, kMiB + 512, {})), ErrorKind::no_space);
  EXPECT_EQ(error(create_raw(*file, 4096, {.preallocation = full})), ErrorKind::unsupported);
  get(file->close());
  EXPECT_TRUE(device.contents() == bytes) << "the contents are not touched";
}

}  // namespace
}  // namespace platter::test
