// A DirectFile on devices that are full, broken or too small, in processes under limits.
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "tests/support/file_targets.h"
#include "tests/support/in_child.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_tasks.h"
#include "tests/support/syscall_faults.h"

namespace platter::test {
namespace {

class DirectFileFaultsTest : public FileSetupTest {
 protected:
  void SetUp() override {
    FileSetupTest::SetUp();
    engine = GetParam().engine;
  }
  void new_ring() { ring = Ring::create({.engine = engine, .threads = 4}).value(); }
  static std::string make_file(const std::string& path, std::uint64_t size = 0) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    EXPECT_TRUE(fd);
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    return path;
  }

  RingEngineKind engine = RingEngineKind::automatic;
};

constexpr Place kDisk[] = {Place::disk};
INSTANTIATE_TEST_SUITE_P(On, DirectFileFaultsTest, testing::ValuesIn(setups_of(kDisk)), setup_name);

TEST_P(DirectFileFaultsTest, AFileSizeLimitIsTooLarge) {
  const TargetFile target(Place::disk, random_bytes(100'000, 1));
  const std::vector<std::byte> all = target.contents();
  ring.reset();
  const bool passed = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    constexpr rlim_t kLimit = 150'000;
    const rlimit limit{.rlim_cur = kLimit, .rlim_max = kLimit};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    new_ring();
    const auto file = open(target);
    const std::vector<std::byte> data = random_bytes(100'000, 2);
    EXPECT_EQ(to_string(error(file->write(200'000, data)).kind()), "too_large");
    EXPECT_EQ(to_string(error(file->write(100'000, data)).kind()), "too_large");
    EXPECT_EQ(to_string(error(file->truncate(200'000)).kind()), "too_large");
    EXPECT_EQ(to_string(error(file->write_zeroes(90'000, 100'000, ZeroMode::may_unmap)).kind()),
              "too_large");
    EXPECT_LE(get(file->size()), kLimit);
    std::vector<std::byte> back(90'000);
    get(read_exactly(*file, 0, back));
    EXPECT_TRUE(std::ranges::equal(back, std::span(all).first(90'000)));
    get(file->close());
    ring.reset();
  });
  EXPECT_TRUE(passed);
}

TEST_P(DirectFileFaultsTest, AFullFilesystemIsNoSpaceAndLosesNothing) {
  if (const auto why = missing(Place::tmpfs)) GTEST_SKIP() << *why;
  for (const FilesystemKind kind : {FilesystemKind::tmpfs, FilesystemKind::ext4}) {
    MountedFilesystem filesystem(kind, 4 * kMiB);
    const auto file = open(make_file(filesystem / "file"));
    const std::vector<std::byte> data = random_bytes(kMiB + 100, 1);
    const std::uint64_t first = 100;
    get(file->write(first, data));
    get(file->flush());
    Result<void> wrote;
    std::uint64_t at = first + data.size();
    for (int n = 0; n < 10 && wrote; ++n, at += data.size()) {
      wrote = ring->run(file->write(at, data));
      if (wrote) wrote = ring->run(file->allocate(at, data.size()));
    }
    ASSERT_FALSE(wrote);
    EXPECT_EQ(to_string(wrote.error().kind()), "no_space");
    EXPECT_NE(wrote.error().message().find(file->name()), std::string::npos);
    std::vector<std::byte> back(data.size());
    get(read_exactly(*file, first, back));
    EXPECT_EQ(back, data);
    EXPECT_EQ(to_string(error(file->allocate(0, 64 * kMiB)).kind()), "no_space");
    get(file->truncate(2 * kMiB));
    get(file->flush());
    get(file->write(kMiB / 2, std::span(data).first(1000)));
    get(file->close());
  }
}

TEST_P(DirectFileFaultsTest, ADeviceThatLostItsEndFailsToReadThereOnly) {
  if (const auto why = missing(Place::loop512)) GTEST_SKIP() << *why;
  const TempDir folder;
  const std::string backing = make_file(folder / "disk", kMiB);
  const LoopDevice device(backing);
  const auto file = open(device.path());
  ASSERT_EQ(::truncate(backing.c_str(), 512 * kKiB), 0);
  std::vector<std::byte> into(4096);
  get(read_exactly(*file, 0, into));
  const Error failed = error(file->read(768 * kKiB, into));
  EXPECT_EQ(to_string(failed.kind()), "io");
  EXPECT_EQ(failed.message(),
            "Could not read '" + device.path() + "' at offset 786432: Input/output error");
  EXPECT_EQ(to_string(error(file->read(768 * kKiB + 5, into)).kind()), "io");
  // A write of a part of a block needs to read the rest.
  if (file->traits().direct) {
    EXPECT_EQ(to_string(error(file->write(768 * kKiB + 5, std::span(into).first(9))).kind()), "io");
  }
  get(file->close());
}

TEST_P(DirectFileFaultsTest, ADeviceThatCannotWriteFailsAndStaysUnflushed) {
  if (const auto why = missing(Place::loop512)) GTEST_SKIP() << *why;
  MountedFilesystem filesystem(FilesystemKind::tmpfs, kMiB);
  const LoopDevice device(make_file(filesystem / "disk", 4 * kMiB));
  const auto file = open(device.path());
  const std::vector<std::byte> data = random_bytes(2 * kMiB, 1);
  Result<void> wrote = ring->run(file->write(0, data));
  if (file->traits().direct) {
    // The loop driver passes off a write that its file took in part as a whole one; nothing is left
    // to be taken of the next.
    if (wrote) wrote = ring->run(file->write(2 * kMiB, data));
    ASSERT_FALSE(wrote);
    // Older kernels call it EIO.
    EXPECT_TRUE(wrote.error().kind() == ErrorKind::io ||
                wrote.error().kind() == ErrorKind::no_space)
        << wrote.error().message();
    get(file->close());
    return;
  }
  ASSERT_TRUE(wrote);  // into the page cache
  std::vector<Result<void>> results(8);
  std::vector<Task<void>> flushes;
  const auto flush = [](File& flushed, Result<void>& result) -> Task<void> {
    result = co_await flushed.flush().result();
  };
  for (Result<void>& result : results) flushes.push_back(flush(*file, result));
  get(all_at_once(std::move(flushes)));
  // The kernel tells only one of them. All must know, and all that come later.
  for (const Result<void>& result : results) {
    ASSERT_FALSE(result);
    EXPECT_EQ(to_string(result.error().kind()), "io");
  }
  EXPECT_EQ(error(file->flush()).message(),
            "Could not flush '" + device.path() + "': Input/output error");
  get(file->close());
}

TEST_P(DirectFileFaultsTest, SignalsAllTheTimeChangeNothing) {
  const TargetFile target(Place::disk, random_bytes(100'003, 1));
  const std::uint64_t seed = test_seed();
  ring.reset();
  const bool passed = in_child([&] {
    struct sigaction action{};
    action.sa_handler = [](int) {};  // without SA_RESTART: every wait is interrupted
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval timer{.it_interval = {0, 200}, .it_value = {0, 200}};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
    new_ring();
    const auto file = open(target);
    FileModel model(get(read_all(*file)));
    RandomSteps steps(seed);
    for (int n = 0; n < 150; ++n) get(perform(*file, model, steps.next(model.size())));
    EXPECT_EQ(model.difference(0, get(read_all(*file))), "");
    get(file->close());
    ring.reset();
    const itimerval off{};
    ::setitimer(ITIMER_REAL, &off, nullptr);
  });
  EXPECT_TRUE(passed);
}

// Every system call in turn fails, ends short or is interrupted.

class DirectFileSyscallFaultsTest : public DirectFileFaultsTest {
 protected:
  void SetUp() override {
    if (const auto why = no_syscall_faults()) GTEST_SKIP() << *why;
    DirectFileFaultsTest::SetUp();
    ring.reset();
  }
  /// A short sequence with reads, aligned and odd writes, tails, zeroes, cuts. Each step either
  /// succeeds and the file agrees, or fails and only its own bytes are uncertain. Returns how many
  /// steps failed.
  int run_steps(const TargetFile& target, std::uint64_t seed, int count,
                std::optional<ZeroMode> mode = std::nullopt) {
    Result<std::unique_ptr<DirectFile>> opened = ring->run(
        DirectFile::open(target.path(), {.access = Access::read_write, .cache = GetParam().cache}));
    if (!opened) return 1;
    const auto file = *std::move(opened);
    FileModel model(contents(target));
    RandomSteps steps(seed, {.size_max = 40'000, .length_max = 9000});
    int failures = 0;
    for (int n = 0; n < count && !HasFailure(); ++n) {
      FileStep step = steps.next(model.size());
      step.mode = mode.value_or(step.mode);
      SCOPED_TRACE("step " + std::to_string(n) + ": " + to_string(step));
      const Result<void> done = ring->run(perform(*file, model, step));
      if (done) {
        EXPECT_EQ(model.difference(0, contents(target)), "");
        EXPECT_EQ(contents(target).size(), model.size());
        continue;
      }
      ++failures;
      last_failure = done.error().message();
      EXPECT_EQ(model.settle(step, contents(target)), "") << done.error().message();
    }
    EXPECT_TRUE(ring->run(file->close()));
    return failures;
  }
  std::string last_failure;
  static std::vector<std::byte> contents(const TargetFile& target) {
    const SyscallFaultsPaused paused;
    return target.contents();
  }
};

constexpr FileSetup kThreads[] = {
    {Place::disk, CacheUse::direct_if_possible, RingEngineKind::threads},
    {Place::disk, CacheUse::buffered, RingEngineKind::threads}};
INSTANTIATE_TEST_SUITE_P(On, DirectFileSyscallFaultsTest, testing::ValuesIn(kThreads), setup_name);

// A fourth of the calls in each run, another fourth with another seed.
TEST_P(DirectFileSyscallFaultsTest, AnErrorAtAnyCallSpoilsOnlyTheStepThatItHits) {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t n = seed % 4; n < 60; n += 4) {
    const TargetFile target(Place::disk, random_bytes(20'001, 1));
    const bool passed = in_child([&] {
      fault_syscall(n, SyscallFault::fails, n % 8 < 4 ? EIO : ENOSPC);
      new_ring();
      // keep_allocated ignores it if the space can't be had.
      const int failures = run_steps(target, seed, 20, ZeroMode::may_unmap);
      // The C library opens files of its own, and lives without.
      if (last_faulted_syscall() != SYS_openat) EXPECT_EQ(failures > 0, syscalls_faulted() > 0);
      ring.reset();
    });
    ASSERT_TRUE(passed) << "call " << n;
  }
}

TEST_P(DirectFileSyscallFaultsTest, ShortAndInterruptedCallsAreContinued) {
  const std::uint64_t seed = test_seed();
  for (const SyscallFault fault : {SyscallFault::half, SyscallFault::one_byte,
                                   SyscallFault::interrupted, SyscallFault::try_again}) {
    for (std::uint64_t round = 0; round < 2; ++round) {
      const TargetFile target(Place::disk, random_bytes(20'001, 1));
      const bool passed = in_child([&] {
        fault_syscalls_sometimes(64, seed + round, fault, EIO);
        new_ring();
        // Chance may pass a short sequence by: go on until it has struck.
        for (std::uint64_t part = 0; part == 0 || (part < 50 && syscalls_faulted() == 0); ++part) {
          EXPECT_EQ(run_steps(target, seed + round + 1000 * part, 30), 0) << last_failure;
        }
        EXPECT_GT(syscalls_faulted(), 0U);
        ring.reset();
      });
      ASSERT_TRUE(passed) << "fault " << static_cast<int>(fault);
    }
  }
}

// A filesystem that knows none of the modes of fallocate: zeroes are written, at any alignment,
// beside other writes to the same blocks.
TEST_P(DirectFileSyscallFaultsTest, WithoutFallocateZeroesAreWritten) {
  const TargetFile target(Place::disk, random_bytes(100'003, 1));
  const bool passed = in_child([&] {
    refuse_syscall(SYS_fallocate, EOPNOTSUPP);
    new_ring();
    const auto file = open(target);
    std::vector<std::byte> all = get(read_all(*file));
    const std::vector<std::byte> data = random_bytes(100, 2);
    std::vector<Task<void>> tasks;
    for (std::uint64_t n = 0; n < 40; ++n) {
      const ZeroMode mode = n % 2 == 0 ? ZeroMode::may_unmap : ZeroMode::keep_allocated;
      const std::uint64_t at = n * 2000;
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(at);
      tasks.push_back(file->write(at, data));
      tasks.push_back(file->write_zeroes(at + 100, 1800, mode));
      tasks.push_back(file->write(at + 1900, data));
      std::ranges::copy(data, begin);
      std::fill_n(begin + 100, 1800, std::byte{0});
      std::ranges::copy(data, begin + 1900);
    }
    get(all_at_once(std::move(tasks)));
    get(file->discard(0, 4096));  // can't: nothing happens
    EXPECT_EQ(get(read_all(*file)), all);
    get(file->write_zeroes(90'000, 20'000, ZeroMode::keep_allocated));
    std::fill(all.begin() + 90'000, all.end(), std::byte{0});
    all.resize(110'000);
    EXPECT_EQ(get(read_all(*file)), all);
    EXPECT_EQ(to_string(error(file->allocate(0, 4096)).kind()), "unsupported");
    get(file->close());
    ring.reset();
  });
  EXPECT_TRUE(passed);
}

}  // namespace
}  // namespace platter::test
