// generators.h, swap_header.h, run_program.h
#include "src/provision/generators.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "src/provision/run_program.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::provision {
namespace {

using test::run_command;

class Generators : public testing::Test {
 protected:
  // Makes it in a new file of this name.
  Result<FetchResult> make(TemplateSource& source, const std::string& path,
                           FetchOptions options = {}) {
    std::ofstream(path) << "old contents";
    const auto file =
        ring_->run(DirectFile::open(path, FileOptions{.access = Access::read_write})).value();
    auto fetched = ring_->run(source.fetch(*file, std::move(options)));
    EXPECT_TRUE(ring_->run(file->flush()));
    EXPECT_TRUE(ring_->run(file->close()));
    return fetched;
  }
  std::string tag(const std::string& path, const std::string& name) {
    auto result = run_command("blkid", "-p", "-o", "value", "-s", name, path);
    if (result.out.ends_with('\n')) result.out.pop_back();
    return result.out;
  }

  test::TempDir folder_;
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(Generators, AnEmptyDiskIsAHole) {
  const std::string path = folder_ / "empty";
  Progress progress;
  EXPECT_EQ(make(*empty_source(3 * kMiB + 5), path, {.progress = &progress}).value().size,
            3 * kMiB + 5);
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), 3 * kMiB + 5);
  EXPECT_EQ(status.st_blocks, 0);
  EXPECT_EQ(progress.done(), 3 * kMiB + 5);
}

// But for the UUID, which is given, the header is the one that mkswap writes.
TEST_F(Generators, ASwapAreaIsTheOneOfMkswap) {
  if (!test::have_program("mkswap")) GTEST_SKIP() << "needs util-linux";
  for (const std::uint64_t size :
       {std::uint64_t{40960}, std::uint64_t{64 * kMiB}, 5 * kMiB + 1000}) {
    const std::string theirs = folder_ / "theirs";
    std::ofstream(theirs) << "";
    ASSERT_EQ(::truncate(theirs.c_str(), static_cast<off_t>(size)), 0);
    ASSERT_TRUE(
        run_command("mkswap", "-L", "label", "-U", "01020304-0506-0708-090a-0b0c0d0e0f10", theirs)
            .ok());
    SwapOptions options{.label = "label"};
    for (unsigned at = 0; at < 16; ++at) options.uuid[at] = static_cast<std::byte>(at + 1);
    const std::string ours = folder_ / "ours";
    ASSERT_TRUE(make(*swap_source(size, options), ours));
    EXPECT_TRUE(run_command("cmp", ours, theirs).ok()) << size;
  }
}

TEST_F(Generators, ASwapAreaHasAUuidOfItsOwn) {
  if (!test::have_program("blkid")) GTEST_SKIP() << "needs util-linux";
  ASSERT_TRUE(make(*swap_source(kMiB, {.label = "fifteen-bytes-x"}), folder_ / "a"));
  ASSERT_TRUE(make(*swap_source(kMiB), folder_ / "b"));
  EXPECT_EQ(tag(folder_ / "a", "TYPE"), "swap");
  EXPECT_EQ(tag(folder_ / "a", "LABEL"), "fifteen-bytes-x");
  EXPECT_EQ(tag(folder_ / "a", "UUID").size(), 36U);
  EXPECT_EQ(tag(folder_ / "a", "UUID")[14], '4');
  EXPECT_NE(tag(folder_ / "a", "UUID"), tag(folder_ / "b", "UUID"));
  const auto label = run_command("swaplabel", folder_ / "a");
  EXPECT_NE(label.out.find("LABEL: fifteen-bytes-x"), std::string::npos) << label.out << label.err;
}

TEST_F(Generators, ASwapAreaThatCanNotBeIsRefused) {
  EXPECT_EQ(swap_header(10 * 4096 - 1, {.page_size = 4096}).error().kind(),
            ErrorKind::invalid_argument);
  EXPECT_EQ(swap_header((std::uint64_t{1} << 32) * 4096 + 4096, {.page_size = 4096}).error().kind(),
            ErrorKind::too_large);
  EXPECT_TRUE(swap_header((std::uint64_t{1} << 32) * 4096, {.page_size = 4096}));
  EXPECT_EQ(swap_header(kMiB, {.label = "sixteen-bytes-xx"}).error().kind(),
            ErrorKind::invalid_argument);
  EXPECT_EQ(swap_header(kMiB, {.page_size = 65536}).value().size(), 65536U);
}

TEST_F(Generators, FilesystemsAreWhatTheyAreCalled) {
  for (const Filesystem filesystem : {Filesystem::ext4, Filesystem::xfs, Filesystem::vfat}) {
    const std::string name(to_string(filesystem));
    EXPECT_EQ(parse_filesystem(name).value(), filesystem);
    if (!find_program("mkfs." + name) || !test::have_program("blkid")) continue;
    const std::uint64_t size = 320 * kMiB;
    const std::string path = folder_ / name;
    const auto source = filesystem_source(filesystem, size, "EPH0").value();
    const auto fetched = make(*source, path);
    ASSERT_TRUE(fetched) << fetched.error().message();
    EXPECT_EQ(tag(path, "TYPE"), name);
    EXPECT_EQ(tag(path, "LABEL"), "EPH0");
    struct stat status{};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), size);
  }
  EXPECT_FALSE(parse_filesystem("ext4 "));
}

TEST_F(Generators, LabelsAreNoOptions) {
  for (const char* label : {"-O", "a b", "a\nb", "$(id)", "much-too-long-a-label", "a/b"}) {
    EXPECT_EQ(filesystem_source(Filesystem::ext4, kMiB, label).error().kind(),
              ErrorKind::invalid_argument)
        << label;
  }
}

TEST_F(Generators, WhatMkfsSaysIsTold) {
  if (!find_program("mkfs.xfs")) GTEST_SKIP() << "needs xfsprogs";
  const auto source = filesystem_source(Filesystem::xfs, kMiB).value();
  const auto fetched = make(*source, folder_ / "small");
  ASSERT_FALSE(fetched);
  EXPECT_EQ(fetched.error().kind(), ErrorKind::io);
  EXPECT_NE(fetched.error().message().find("mkfs.xfs' ended with exit code 1"), std::string::npos)
      << fetched.error().message();
}

TEST_F(Generators, LimitsHoldForThemToo) {
  FetchOptions options;
  options.limits.size_max = kMiB - 1;
  MemoryFile target;
  EXPECT_EQ(ring_->run(empty_source(kMiB)->fetch(target, options)).error().kind(),
            ErrorKind::too_large);
  EXPECT_EQ(ring_->run(swap_source(kMiB)->fetch(target, options)).error().kind(),
            ErrorKind::too_large);
  options.limits = {.digest = ExpectedDigest{"sha256", std::string(64, '0')}};
  EXPECT_EQ(ring_->run(empty_source(kMiB)->fetch(target, options)).error().kind(),
            ErrorKind::invalid_argument);
  const auto source = filesystem_source(Filesystem::ext4, 8 * kMiB).value();
  EXPECT_EQ(ring_->run(source->fetch(target, {})).error().kind(), ErrorKind::unsupported);
}

TEST_F(Generators, BasesHaveNovasNames) {
  // python3 -c 'import hashlib; print(hashlib.md5(b"ext4").hexdigest()[:7])'
  EXPECT_EQ(ephemeral_base_name(20, Filesystem::ext4).value(), "ephemeral_20_40d1d2c");
  EXPECT_EQ(ephemeral_base_name(1, Filesystem::vfat).value(), "ephemeral_1_0706d66");
  EXPECT_EQ(swap_base_name(512), "swap_512");
}

// --- run_program() ---

class RunProgram : public Generators {
 protected:
  Result<std::string> shell(const std::string& script, std::chrono::milliseconds time_max,
                            int target_fd = -1) {
    ProgramCall call{.path = "/bin/sh", .arguments = {"-c", script}, .target_fd = target_fd};
    call.time_max = time_max;
    return ring_->run(run_program(std::move(call)));
  }
  static constexpr std::chrono::milliseconds kLong{20'000};
};

TEST_F(RunProgram, TheChildInheritsNothingButItsTarget) {
  ::setenv("PLATTER_SECRET", "secret", 1);
  const UniqueFd other(::dup(0));  // without O_CLOEXEC
  std::ofstream(folder_ / "target") << "contents";
  const auto file = ring_->run(DirectFile::open(folder_ / "target", {})).value();
  const std::string out =
      shell("env; ls -l /proc/self/fd; cat /proc/self/fd/3", kLong, file->fd()).value();
  EXPECT_TRUE(ring_->run(file->close()));
  EXPECT_EQ(out.find("secret"), std::string::npos) << out;
  EXPECT_NE(out.find("LC_ALL=C"), std::string::npos);
  EXPECT_NE(out.find(" 0 -> /dev/null"), std::string::npos) << out;
  EXPECT_NE(out.find(" 3 -> " + folder_ / "target"), std::string::npos) << out;
  EXPECT_NE(out.find("contents"), std::string::npos);
  // ls itself opens the folder it lists, as 4.
  for (int fd = 5; fd < 64; ++fd) {
    EXPECT_EQ(out.find(" " + std::to_string(fd) + " -> "), std::string::npos) << out;
  }
  ::unsetenv("PLATTER_SECRET");
}

TEST_F(RunProgram, ExitCodesAreErrors) {
  const auto failed = shell("echo one; echo two >&2; exit 3", kLong);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message(), "'/bin/sh' ended with exit code 3: two");
  EXPECT_EQ(shell("kill -9 $$", kLong).error().message(), "'/bin/sh' was killed by signal 9");
  EXPECT_EQ(ring_->run(run_program({.path = folder_ / "none"})).error().kind(),
            ErrorKind::not_found);
}

TEST_F(RunProgram, OutputIsBounded) {
  EXPECT_EQ(shell("head -c 1000000 /dev/zero", kLong).value().size(), 16U * 1024);
}

TEST_F(RunProgram, TimeIsBoundedForItsChildrenToo) {
  const std::string pid_file = folder_ / "pid";
  const auto begin = std::chrono::steady_clock::now();
  const auto result =
      shell("sleep 50 & echo $! > " + pid_file + "; wait", std::chrono::milliseconds(500));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::timed_out);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  int pid = 0;
  ASSERT_TRUE(std::ifstream(pid_file) >> pid);
  bool gone = false;
  for (int count = 0; count < 100 && !gone; ++count) {
    std::stringstream state;
    state << std::ifstream("/proc/" + std::to_string(pid) + "/stat").rdbuf();
    gone = state.str().empty() || state.str().find(") Z") != std::string::npos;
    if (!gone) ::usleep(20'000);
  }
  EXPECT_TRUE(gone);
}

TEST_F(RunProgram, ACancelledOneIsNotStarted) {
  CancelToken cancel;
  cancel.request();
  ProgramCall call{.path = "/bin/sh", .arguments = {"-c", "touch " + folder_ / "made"}};
  EXPECT_EQ(ring_->run(run_program(std::move(call), &cancel)).error().kind(), ErrorKind::cancelled);
  EXPECT_NE(::access((folder_ / "made").c_str(), F_OK), 0);
}

TEST_F(RunProgram, ProgramsAreFoundInTheSystemsFoldersAlone) {
  EXPECT_TRUE(find_program("sh")->ends_with("bin/sh"));
  std::ofstream(folder_ / "mkfs.own") << "#!/bin/sh\n";
  ::chmod((folder_ / "mkfs.own").c_str(), 0755);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", folder_.path().c_str(), 1);
  EXPECT_EQ(find_program("mkfs.own").error().kind(), ErrorKind::unsupported);
  ::setenv("PATH", path.c_str(), 1);
  EXPECT_FALSE(find_program("../bin/sh"));
}

}  // namespace
}  // namespace platter::provision
