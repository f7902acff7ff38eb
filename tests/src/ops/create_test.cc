#include "src/ops/create.h"

#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/header.h"
#include "io/bytes.h"
#include "src/ops/backing.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/in_child.h"
#include "tests/support/loop_device.h"
#include "tests/support/random_ops.h"
#include "tests/support/syscall_faults.h"

namespace platter::test {
namespace {

class CreateImage : public FileTest {
 protected:
  Result<void> create(const std::string& path, std::uint64_t size,
                      Preallocation preallocation = Preallocation::off) {
    return run(create_image({.filename = path, .size = size, .preallocation = preallocation}));
  }
  std::string path_ = folder_ / "new.img";
};

TEST_F(CreateImage, ANewImageIsAFileOfItsSize) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{512}, kMiB, 10 * kTiB}) {
    const std::string path = folder_ / std::to_string(size);
    expect_ok(create(path, size));
    EXPECT_EQ(status_of(path).size, size);
    EXPECT_LE(status_of(path).used, 4096U);
  }
}

TEST_F(CreateImage, PreallocationTakesTheSpace) {
  for (const Preallocation mode : {Preallocation::falloc, Preallocation::full}) {
    const std::string path = folder_ / std::string(to_string(mode));
    expect_ok(create(path, 3 * kMiB + 512, mode));
    EXPECT_EQ(status_of(path).size, 3 * kMiB + 512);
    EXPECT_GE(status_of(path).used, 3 * kMiB + 512);
    EXPECT_TRUE(read_file(path) == Bytes(3 * kMiB + 512));
  }
}

TEST_F(CreateImage, AnEmptyImageTakesAnyPreallocation) {
  for (const Preallocation mode : {Preallocation::falloc, Preallocation::full}) {
    const std::string path = folder_ / std::string(to_string(mode));
    expect_ok(create(path, 0, mode));
    EXPECT_TRUE(status_of(path).exists);
  }
}

TEST_F(CreateImage, AnExistingFileIsMadeAnewInPlace) {
  write_file(path_, random_bytes(100'000, 1));
  const FileStatus before = status_of(path_);
  expect_ok(create(path_, 50'176));
  EXPECT_EQ(status_of(path_).inode, before.inode);
  EXPECT_TRUE(read_file(path_) == Bytes(50'176));
}

TEST_F(CreateImage, AFailureLeavesNoName) {
  expect_error(create(path_, 4096, Preallocation::metadata), ErrorKind::unsupported);
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CreateImage, CancelledNothingIsLeft) {
  CancelToken cancel;
  cancel.request();
  expect_error(run(create_image({.filename = path_,
                                 .size = kMiB,
                                 .preallocation = Preallocation::full,
                                 .cancel = &cancel})),
               ErrorKind::cancelled);
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CreateImage, AFullFilesystemIsLeftAsItWas) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem tiny(FilesystemKind::tmpfs, 2 * kMiB);
  for (const Preallocation mode : {Preallocation::falloc, Preallocation::full}) {
    expect_error(create(tiny / "image", 64 * kMiB, mode), ErrorKind::no_space);
    EXPECT_TRUE(names_in(tiny.path()).empty());
  }
}

TEST_F(CreateImage, ASizeThatTheFilesystemCanNotHaveIsTooLarge) {
  expect_error(create(path_, align_down(kMaxFileSize, 512)), ErrorKind::too_large);
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CreateImage, ADeviceMustBeLargeEnough) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const std::string file = folder_ / "disk";
  write_file(file, random_bytes(kMiB, 1));
  const LoopDevice device(file);
  expect_ok(create(device.path(), kMiB));
  expect_ok(create(device.path(), 512));
  expect_error(create(device.path(), kMiB + 512), ErrorKind::no_space);
}

// qcow2 ----------------------------------------------------------------------------------------

class CreateQcow2 : public FileTest {
 protected:
  CreateOptions options(std::uint64_t size, Preallocation preallocation = Preallocation::off) {
    return {.filename = path_, .format = "qcow2", .size = size, .preallocation = preallocation};
  }
  bool is_image(const std::string& path) {
    const Bytes bytes = read_file(path);
    return qcow2::header_area(bytes).has_value();
  }
  std::string path_ = folder_ / "image";
  std::string data_ = folder_ / "data";
};

TEST_F(CreateQcow2, ANewImageIsThereWhole) {
  expect_ok(run(create_image(options(kGiB, Preallocation::metadata))));
  EXPECT_TRUE(is_image(path_));
  EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"image"});
}

TEST_F(CreateQcow2, AnExistingFileIsMadeAnewInPlace) {
  write_file(path_, random_bytes(kMiB, 1));
  const FileStatus before = status_of(path_);
  expect_ok(run(create_image(options(kMiB))));
  EXPECT_EQ(status_of(path_).inode, before.inode);
  EXPECT_EQ(status_of(path_).size, 3 * 65536U + 8);
  EXPECT_TRUE(is_image(path_));
}

TEST_F(CreateQcow2, WhatIsNotPossibleLeavesAnExistingFileAlone) {
  const Bytes bytes = random_bytes(100'000, 1);
  write_file(path_, bytes);
  CreateOptions wrong = options(kMiB);
  wrong.qcow2.cluster_size = 1000;
  expect_error(run(create_image(wrong)), ErrorKind::invalid_argument);
  expect_error(run(create_image(options(8192 * kTiB))), ErrorKind::too_large);
  EXPECT_TRUE(read_file(path_) == bytes);
}

TEST_F(CreateQcow2, TheDataFileIsMadeToo) {
  CreateOptions request = options(kMiB + 512);
  request.qcow2.data_file = "file:" + data_;
  write_file(data_, random_bytes(5000, 1));
  const FileStatus before = status_of(data_);
  expect_ok(run(create_image(request)));
  EXPECT_TRUE(is_image(path_));
  EXPECT_EQ(status_of(data_).inode, before.inode);
  EXPECT_TRUE(read_file(data_) == Bytes(kMiB + 512));
}

TEST_F(CreateQcow2, AFailureLeavesNeitherImageNorDataFile) {
  CancelToken cancel;
  cancel.request();
  CreateOptions request = options(kMiB, Preallocation::metadata);
  request.qcow2.data_file = data_;
  request.cancel = &cancel;
  expect_error(run(create_image(request)), ErrorKind::cancelled);
  EXPECT_TRUE(names_in(folder_.path()).empty());

  request.cancel = nullptr;
  request.qcow2.data_file = folder_ / "no/data";
  expect_error(run(create_image(request)), ErrorKind::not_found);
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(CreateQcow2, ImageAndDataFileAreTwoFiles) {
  CreateOptions request = options(kMiB);
  for (const std::string& name : {path_, folder_ / "./image"}) {
    request.qcow2.data_file = name;
    expect_error(run(create_image(request)), ErrorKind::in_use);
    EXPECT_TRUE(names_in(folder_.path()).empty());
  }
}

TEST_F(CreateQcow2, NoFileOfTheBackingChainIsOverwritten) {
  const Bytes bytes = random_bytes(8192, 1);
  write_file(path_, bytes);
  const std::string top = folder_ / "top";
  CreateOptions overlay = options(kMiB);
  overlay.filename = top;
  overlay.qcow2.backing_file = "image";
  overlay.qcow2.backing_format = "raw";
  expect_ok(run(create_image(overlay)));

  const auto backing =
      run(look_at_backing(folder_ / "new", "top", "qcow2", {.follow_references = true}));
  expect_ok(backing);
  EXPECT_EQ(backing->size, kMiB);
  EXPECT_EQ(backing->files.size(), 2U);
  CreateOptions request = options(kMiB);
  request.sources = backing->files;
  expect_error(run(create_image(request)), ErrorKind::in_use);
  request.filename = folder_ / "new";
  request.qcow2.data_file = path_;
  expect_error(run(create_image(request)), ErrorKind::in_use);
  EXPECT_TRUE(read_file(path_) == bytes);
  EXPECT_EQ(names_in(folder_.path()), (std::vector<std::string>{"image", "top"}));
}

// Fails the n-th system call that writes, sizes or flushes, in a process of its own; true if that
// was the end of them.
class CreateQcow2Faults : public CreateQcow2 {
 protected:
  // The child's findings come by what it leaves: names, and a file that says that it was harmed.
  bool fail_one(std::uint64_t number, const CreateOptions& request,
                const std::function<void(bool done)>& look) {
    const std::string harmed = folder_ / "harmed";
    ring_.reset();
    const bool passed = in_child([&] {
      ring_ = Ring::create({.engine = RingEngineKind::threads, .threads = 2}).value();
      fault_syscall(number, SyscallFault::fails, ENOSPC);
      const Result<void> done = run(create_image(request));
      const SyscallFaultsPaused paused;
      if (syscalls_faulted() > 0) write_file(harmed, {});
      ring_.reset();
      look(done.has_value());
    });
    EXPECT_TRUE(passed) << "system call " << number;
    return ::unlink(harmed.c_str()) != 0;
  }
};

TEST_F(CreateQcow2Faults, WhateverFailsLeavesAllOrNothing) {
  if (const auto why = no_syscall_faults()) GTEST_SKIP() << *why;
  CreateOptions request = options(20 * kMiB + 512, Preallocation::metadata);
  request.qcow2.cluster_size = 4096;
  request.qcow2.data_file = data_;
  const std::vector<std::string> all = {"data", "image"};
  std::uint64_t number = 0;
  for (bool end = false; !end && !HasFailure(); ++number) {
    end = fail_one(number, request, [&](bool done) {
      std::vector<std::string> names = names_in(folder_.path());
      std::erase(names, "harmed");
      EXPECT_EQ(names, done ? all : std::vector<std::string>());
    });
    for (const std::string& name : all) ::unlink((folder_ / name).c_str());
  }
  EXPECT_GT(number, 5U);
}

TEST_F(CreateQcow2Faults, InPlaceWhateverFailsLeavesOneOfTheImagesOrNone) {
  if (const auto why = no_syscall_faults()) GTEST_SKIP() << *why;
  expect_ok(run(create_image(options(3 * kMiB, Preallocation::full))));
  const Bytes old = read_file(path_);
  const CreateOptions request = options(20 * kMiB + 512, Preallocation::metadata);
  expect_ok(run(create_image(request)));
  const Bytes wanted = read_file(path_);
  std::uint64_t number = 0;
  for (bool end = false; !end && !HasFailure(); ++number) {
    write_file(path_, old);
    end = fail_one(number, request, [&](bool done) {
      const Bytes bytes = read_file(path_);
      EXPECT_TRUE(bytes == wanted || (!done && (bytes == old || !is_image(path_))));
    });
  }
  EXPECT_GT(number, 5U);
}

TEST_F(CreateQcow2, AFullFilesystemIsLeftAsItWas) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const MountedFilesystem tiny(FilesystemKind::tmpfs, 2 * kMiB);
  CreateOptions request = options(64 * kGiB, Preallocation::metadata);
  request.filename = tiny / "image";
  expect_error(run(create_image(request)), ErrorKind::no_space);
  EXPECT_TRUE(names_in(tiny.path()).empty());
}

TEST_F(CreateQcow2, ADeviceKeepsItsSizeAndMustBeLargeEnough) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  const std::string disk = folder_ / "disk";
  write_file(disk, random_bytes(kMiB, 1));
  const LoopDevice device(disk);
  CreateOptions request = options(kGiB);
  request.filename = device.path();
  expect_ok(run(create_image(request)));
  EXPECT_TRUE(is_image(device.path()));
  const Bytes before = read_file(device.path());
  EXPECT_EQ(before.size(), kMiB);

  request.preallocation = Preallocation::metadata;
  expect_error(run(create_image(request)), ErrorKind::no_space);
  request.size = 4096;
  request.preallocation = Preallocation::falloc;
  expect_error(run(create_image(request)), ErrorKind::unsupported);
  EXPECT_TRUE(read_file(device.path()) == before) << "known before anything is changed";
}

}  // namespace
}  // namespace platter::test
