#include "src/ops/target.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/src/ops/file_tools.h"
#include "tests/support/in_child.h"
#include "tests/support/loop_device.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

class OpenTarget : public FileTest {
 protected:
  Result<Target> open(const std::string& path) {
    return run(open_target(path, CacheUse::direct_if_possible, Durability::on_flush));
  }
  /// Fills and completes it.
  void complete(Target& target, const Bytes& bytes) {
    expect_ok(run(clear_target(*target.file, {})));
    expect_ok(run(target.file->write(0, bytes)));
    expect_ok(run(complete_target(target.unpublished.get(), *target.file)));
    expect_ok(run(target.file->close()));
  }

  const Bytes bytes_ = random_bytes(10'000, 1);
  std::string path_ = folder_ / "target";
};

TEST_F(OpenTarget, AFreeNameIsTakenOnlyWhenTheFileIsComplete) {
  Result<Target> target = open(path_);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_NE(target->unpublished, nullptr);
  EXPECT_TRUE(names_in(folder_.path()).empty());
  complete(*target, bytes_);
  EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"target"});
  EXPECT_TRUE(read_file(path_) == bytes_);
}

TEST_F(OpenTarget, AnAbandonedOneLeavesNothing) {
  {
    Result<Target> target = open(path_);
    ASSERT_TRUE(target);
    expect_ok(run(target->file->write(0, bytes_)));
  }
  EXPECT_TRUE(names_in(folder_.path()).empty());
}

TEST_F(OpenTarget, TheModeFollowsTheUmask) {
  const mode_t before = ::umask(027);
  Result<Target> target = open(path_);
  ASSERT_TRUE(target);
  complete(*target, bytes_);
  ::umask(before);
  EXPECT_EQ(status_of(path_).mode, 0640U);
}

TEST_F(OpenTarget, ANameThatSomeoneTookMeanwhileStaysTheirs) {
  Result<Target> target = open(path_);
  ASSERT_TRUE(target);
  write_file(path_, bytes_);
  expect_error(run(complete_target(target->unpublished.get(), *target->file)),
               ErrorKind::already_exists);
  EXPECT_TRUE(read_file(path_) == bytes_);
}

TEST_F(OpenTarget, AnExistingFileIsMadeAnewInPlace) {
  write_file(path_, random_bytes(50'000, 2));
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  const FileStatus before = status_of(path_);
  Result<Target> target = open(path_);
  ASSERT_TRUE(target) << target.error().message();
  EXPECT_EQ(target->unpublished, nullptr);
  EXPECT_EQ(status_of(path_).size, 50'000U) << "opening changes nothing";
  complete(*target, bytes_);
  const FileStatus after = status_of(path_);
  EXPECT_EQ(after.inode, before.inode);
  EXPECT_EQ(after.mode, 0600U);
  EXPECT_TRUE(read_file(path_) == bytes_);
}

TEST_F(OpenTarget, AnExistingFileIsLockedMeanwhile) {
  write_file(path_, bytes_);
  Result<Target> target = open(path_);
  ASSERT_TRUE(target);
  expect_error(open(path_), ErrorKind::in_use);
  expect_ok(run(target->file->close()));
  expect_ok(open(path_));
}

TEST_F(OpenTarget, ALinkLeadsToTheFileBehindIt) {
  const std::string link = folder_ / "link";
  write_file(path_, bytes_);
  ASSERT_EQ(::symlink("target", link.c_str()), 0);
  Result<Target> target = open(link);
  ASSERT_TRUE(target);
  complete(*target, random_bytes(100, 3));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_TRUE(read_file(path_) == random_bytes(100, 3));
}

TEST_F(OpenTarget, ADanglingLinkMakesTheFileItPointsAt) {
  const std::string sub = folder_ / "sub";
  ASSERT_EQ(::mkdir(sub.c_str(), 0755), 0);
  const std::string link = folder_ / "link";
  const std::string second = sub + "/second";
  ASSERT_EQ(::symlink("sub/second", link.c_str()), 0);
  ASSERT_EQ(::symlink("../target", second.c_str()), 0);
  Result<Target> target = open(link);
  ASSERT_TRUE(target) << target.error().message();
  complete(*target, bytes_);
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_TRUE(std::filesystem::is_symlink(second));
  EXPECT_TRUE(read_file(path_) == bytes_);
}

TEST_F(OpenTarget, WhatCanNotBeATargetIsRefused) {
  const std::string loop = folder_ / "loop";
  ASSERT_EQ(::symlink("loop", loop.c_str()), 0);
  EXPECT_FALSE(open(loop));
  expect_error(open(folder_.path()), ErrorKind::wrong_type);
  expect_error(open(folder_ / "absent/target"), ErrorKind::not_found);
  expect_error(open(folder_ / "absent/"), ErrorKind::wrong_type);
  const std::string fifo = folder_ / "fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0644), 0);
  expect_error(open(fifo), ErrorKind::wrong_type);
  expect_error(open("/dev/null"), ErrorKind::wrong_type);
  EXPECT_FALSE(open(""));
}

TEST_F(OpenTarget, ErrorsSayThatItCouldNotBeCreated) {
  const Result<Target> target = open(folder_ / "absent/target");
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().message(),
            "Could not create '" + folder_ / "absent/target" + "': No such file or directory");
}

TEST_F(OpenTarget, WithoutTheRightThereIsNoTarget) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become someone else";
  const std::string theirs = folder_ / "theirs";
  write_file(theirs, bytes_);
  ring_.reset();
  EXPECT_TRUE(in_child([&] {
    become_nobody();
    ring_ = Ring::create().value();
    expect_error(open(path_), ErrorKind::permission);
    expect_error(open(theirs), ErrorKind::permission);
    ring_.reset();
  }));
}

TEST_F(OpenTarget, AReadOnlyFilesystemIsSaidToBe) {
  if (const auto why = no_loop_devices()) GTEST_SKIP() << *why;
  MountedFilesystem filesystem(FilesystemKind::tmpfs, 1 << 20);
  write_file(filesystem / "there", bytes_);
  filesystem.remount("ro");
  expect_error(open(filesystem / "new"), ErrorKind::read_only);
  expect_error(open(filesystem / "there"), ErrorKind::read_only);
}

/// From now on this process has no unnamed files, as on filesystems that lack them: O_TMPFILE fails.
void lose_unnamed_files() {
  constexpr unsigned kTmpfileBit = O_TMPFILE & ~O_DIRECTORY;
  constexpr unsigned kRefuse = SECCOMP_RET_ERRNO | EOPNOTSUPP;
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kTmpfileBit, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, kRefuse),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(filter), .filter = filter};
  ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
  ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/// In a process without unnamed files.
class HiddenName : public OpenTarget {
 protected:
  void without_unnamed_files(const std::function<void()>& body) {
    ring_.reset();
    EXPECT_TRUE(in_child([&] {
      lose_unnamed_files();
      ring_ = Ring::create().value();
      body();
      ring_.reset();
    }));
  }
  std::string hidden(const std::string& tag) const {
    return folder_ / ".target." + tag + ".partial";
  }
};

TEST_F(HiddenName, IsReplacedByTheNameWhenTheFileIsComplete) {
  without_unnamed_files([&] {
    Result<Target> target = open(path_);
    ASSERT_TRUE(target) << target.error().message();
    const std::vector<std::string> names = names_in(folder_.path());
    ASSERT_EQ(names.size(), 1U);
    EXPECT_TRUE(names[0].starts_with(".target.")) << names[0];
    complete(*target, bytes_);
    EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"target"});
    EXPECT_TRUE(read_file(path_) == bytes_);
  });
}

TEST_F(HiddenName, IsRemovedFromAnAbandonedTarget) {
  without_unnamed_files([&] {
    Result<Target> target = open(path_);
    ASSERT_TRUE(target);
    target->file.reset();
    target->unpublished.reset();
    EXPECT_TRUE(names_in(folder_.path()).empty());
  });
}

TEST_F(HiddenName, DoesNotReplaceANameThatSomeoneTookMeanwhile) {
  without_unnamed_files([&] {
    Result<Target> target = open(path_);
    ASSERT_TRUE(target);
    const Bytes theirs = random_bytes(100, 7);
    write_file(path_, theirs);
    expect_error(run(complete_target(target->unpublished.get(), *target->file)),
                 ErrorKind::already_exists);
    target->file.reset();
    target->unpublished.reset();
    EXPECT_EQ(names_in(folder_.path()), std::vector<std::string>{"target"});
    EXPECT_TRUE(read_file(path_) == theirs);
  });
}

TEST_F(HiddenName, LeftByAKilledProcessIsRemovedByTheNextOne) {
  without_unnamed_files([&] {
    const std::string stale = hidden("0123abcd");
    const std::string in_use = hidden("4567cdef");
    const std::string other = folder_ / ".other.0123abcd.partial";
    for (const std::string& path : {stale, in_use, other}) write_file(path, bytes_);
    const UniqueFd lock(::open(in_use.c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(::flock(lock.get(), LOCK_EX | LOCK_NB), 0);
    Result<Target> target = open(path_);
    ASSERT_TRUE(target);
    EXPECT_FALSE(status_of(stale).exists);
    EXPECT_TRUE(status_of(in_use).exists) << "its maker is at work";
    EXPECT_TRUE(status_of(other).exists) << "another target's";
    complete(*target, bytes_);
    EXPECT_TRUE(status_of(in_use).exists);
  });
}

TEST_F(HiddenName, IsNotLookedForWhereUnnamedFilesExist) {
  const std::string stale = hidden("0123abcd");
  write_file(stale, bytes_);
  Result<Target> target = open(path_);
  ASSERT_TRUE(target);
  complete(*target, bytes_);
  EXPECT_TRUE(status_of(stale).exists);
}

}  // namespace
}  // namespace platter::test
