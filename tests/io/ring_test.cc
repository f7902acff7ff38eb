#include "io/ring.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <numeric>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "io/run_loop.h"
#include "io/task_group.h"
#include "tests/io/ring_support.h"

namespace platter {
namespace {

using test::engine_cases;
using test::engine_name;
using test::RingEngines;
using test::scratch_file;
using test::scratch_folder;

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::span<std::byte> bytes_of(std::string& text) { return std::as_writable_bytes(std::span(text)); }
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

INSTANTIATE_TEST_SUITE_P(, RingEngines, ::testing::ValuesIn(engine_cases()), engine_name);

// ---- Requests

Task<void> write_then_read(Ring& ring, RingFile file) {
  EXPECT_EQ(co_await ring.write(file, bytes_of("hello, ring"), 1000), 11);
  std::string text(11, '?');
  EXPECT_EQ(co_await ring.read(file, bytes_of(text), 1000), 11);
  EXPECT_EQ(text, "hello, ring");
  std::string early(4, '?');
  EXPECT_EQ(co_await ring.read(file, bytes_of(early), 0), 4);
  EXPECT_EQ(early, std::string(4, '\0'));
}

TEST_P(RingEngines, ReadWhatWasWritten) {
  const UniqueFd file = scratch_file();
  EXPECT_TRUE(run(write_then_read(ring(), {.fd = file.get()})));
}

Task<void> read_at_the_end(Ring& ring, RingFile file) {
  EXPECT_EQ(co_await ring.write(file, bytes_of("0123456789"), 0), 10);
  std::string text(100, '?');
  EXPECT_EQ(co_await ring.read(file, bytes_of(text), 4), 6);
  EXPECT_EQ(text.substr(0, 7), "456789?");
  EXPECT_EQ(co_await ring.read(file, bytes_of(text), 10), 0);
  EXPECT_EQ(co_await ring.read(file, bytes_of(text), 1'000'000), 0);
  EXPECT_EQ(co_await ring.read(file, {}, 0), 0);
}

TEST_P(RingEngines, AReadIsShortAtTheEndOfTheFile) {
  const UniqueFd file = scratch_file();
  EXPECT_TRUE(run(read_at_the_end(ring(), {.fd = file.get()})));
}

Task<void> scatter_and_gather(Ring& ring, RingFile file) {
  std::string first = "abc";
  std::string second = "defgh";
  const iovec out[] = {{first.data(), first.size()}, {second.data(), second.size()}};
  EXPECT_EQ(co_await ring.writev(file, out, 7), 8);
  std::string third(6, '?');
  std::string fourth(6, '?');
  const iovec in[] = {{third.data(), third.size()}, {fourth.data(), fourth.size()}};
  EXPECT_EQ(co_await ring.readv(file, in, 7), 8);
  EXPECT_EQ(third + fourth, "abcdefgh????");
}

TEST_P(RingEngines, ScatteredMemoryKeepsItsOrder) {
  const UniqueFd file = scratch_file();
  EXPECT_TRUE(run(scatter_and_gather(ring(), {.fd = file.get()})));
}

Task<void> use_pool_buffers(Ring& ring, RingFile file) {
  Buffer out = co_await ring.buffers().acquire(300'000);
  Buffer in = co_await ring.buffers().acquire(300'000);
  for (std::size_t i = 0; i < out.size(); ++i) out.data()[i] = static_cast<std::byte>(i * 7 % 251);
  EXPECT_EQ(co_await ring.write(file, out.bytes(), 4096), 300'000);
  EXPECT_EQ(co_await ring.read(file, in.bytes(), 4096), 300'000);
  EXPECT_TRUE(std::ranges::equal(out.bytes(), in.bytes()));
  // Also from somewhere inside of a registered buffer.
  EXPECT_EQ(co_await ring.read(file, in.bytes().subspan(12'345, 1000), 4096), 1000);
  EXPECT_TRUE(std::ranges::equal(out.first(1000), in.bytes().subspan(12'345, 1000)));
}

TEST_P(RingEngines, BuffersOfThePoolCarryTheSameBytesRegisteredOrNot) {
  const UniqueFd file = scratch_file();
  EXPECT_TRUE(run(use_pool_buffers(ring(), {.fd = file.get()})));
  const bool expected =
      ring().engine() == RingEngineKind::io_uring && GetParam().options.allow.registered_buffers;
  EXPECT_EQ(ring().buffers().registered(), expected);
  EXPECT_EQ(ring().features().registered_buffers, expected);
}

Task<void> sync_both_ways(Ring& ring, RingFile file) {
  EXPECT_EQ(co_await ring.write(file, bytes_of("x"), 0), 1);
  EXPECT_EQ(co_await ring.fsync(file), 0);
  EXPECT_EQ(co_await ring.fdatasync(file), 0);
}

TEST_P(RingEngines, FsyncAndFdatasyncSucceed) {
  const UniqueFd file = scratch_file();
  EXPECT_TRUE(run(sync_both_ways(ring(), {.fd = file.get()})));
}

std::int64_t size_of(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 ? status.st_size : -errno;
}

Task<std::string> read_text(Ring& ring, RingFile file, std::uint64_t offset, std::size_t size) {
  std::string text(size, '?');
  const int count = co_await ring.read(file, bytes_of(text), offset);
  text.resize(static_cast<std::size_t>(std::max(count, 0)));
  co_return text;
}

Task<void> allocate_and_punch(Ring& ring, RingFile file) {
  EXPECT_EQ(co_await ring.fallocate(file, 0, 0, 65536), 0);
  EXPECT_EQ(size_of(file.fd), 65536);
  EXPECT_EQ(co_await ring.fallocate(file, FALLOC_FL_KEEP_SIZE, 65536, 65536), 0);
  EXPECT_EQ(size_of(file.fd), 65536);

  EXPECT_EQ(co_await ring.write(file, bytes_of(std::string(65536, 'x')), 0), 65536);
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  EXPECT_EQ(co_await ring.fallocate(file, kPunch, 4096, 4096), 0);
  EXPECT_EQ(co_await read_text(ring, file, 4094, 4), std::string("xx\0\0", 4));
  EXPECT_EQ(co_await read_text(ring, file, 8190, 4), std::string("\0\0xx", 4));

  const int zeroed = co_await ring.fallocate(file, FALLOC_FL_ZERO_RANGE, 61440, 8192);
  if (zeroed == -EOPNOTSUPP) co_return;  // tmpfs
  EXPECT_EQ(zeroed, 0);
  EXPECT_EQ(size_of(file.fd), 69632);
  EXPECT_EQ(co_await read_text(ring, file, 61438, 4), std::string("xx\0\0", 4));
}

TEST_P(RingEngines, FallocateExtendsKeepsTheSizePunchesAndZeroes) {
  const UniqueFd file = scratch_file();
  EXPECT_TRUE(run(allocate_and_punch(ring(), {.fd = file.get()})));
}

Task<void> look_at_files(Ring& ring, RingFile file) {
  struct ::statx status{};
  EXPECT_EQ(co_await ring.write(file, bytes_of("12345"), 0), 5);
  EXPECT_EQ(co_await ring.statx(file.fd, "", AT_EMPTY_PATH, STATX_SIZE | STATX_TYPE, &status), 0);
  EXPECT_EQ(status.stx_size, 5U);
  EXPECT_TRUE(S_ISREG(status.stx_mode));
  EXPECT_EQ(co_await ring.statx(AT_FDCWD, "/", 0, STATX_TYPE, &status), 0);
  EXPECT_TRUE(S_ISDIR(status.stx_mode));
  EXPECT_EQ(co_await ring.statx(AT_FDCWD, "/no such file", 0, STATX_TYPE, &status), -ENOENT);
}

TEST_P(RingEngines, StatxFillsItsStructure) {
  const UniqueFd file = scratch_file();
  EXPECT_TRUE(run(look_at_files(ring(), {.fd = file.get()})));
}

Task<void> open_files(Ring& ring, std::string folder) {
  const UniqueFd file(co_await ring.openat(AT_FDCWD, folder.c_str(), O_TMPFILE | O_RDWR, 0600));
  EXPECT_TRUE(file);
  if (file) co_await write_then_read(ring, {.fd = file.get()});
  const UniqueFd parent(co_await ring.openat(AT_FDCWD, "/proc", O_PATH | O_DIRECTORY, 0));
  const UniqueFd relative(co_await ring.openat(parent.get(), "version", O_RDONLY, 0));
  EXPECT_TRUE(relative);
  EXPECT_EQ(co_await ring.openat(AT_FDCWD, "/no such file", O_RDONLY, 0), -ENOENT);
  EXPECT_EQ(co_await ring.openat(AT_FDCWD, "/", O_WRONLY, 0), -EISDIR);
}

TEST_P(RingEngines, OpenatYieldsADescriptor) {
  EXPECT_TRUE(run(open_files(ring(), scratch_folder())));
}

Task<void> fail_in_many_ways(Ring& ring) {
  std::string text(10, '?');
  const UniqueFd folder(::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd read_only(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  const UniqueFd full(::open("/dev/full", O_RDWR | O_CLOEXEC));
  const RingFile none{.fd = -1};
  EXPECT_EQ(co_await ring.read(none, bytes_of(text), 0), -EBADF);
  EXPECT_EQ(co_await ring.write(none, bytes_of(text), 0), -EBADF);
  EXPECT_EQ(co_await ring.fsync(none), -EBADF);
  EXPECT_EQ(co_await ring.fallocate(none, 0, 0, 1), -EBADF);
  EXPECT_EQ(co_await ring.read({.fd = folder.get()}, bytes_of(text), 0), -EISDIR);
  EXPECT_EQ(co_await ring.write({.fd = read_only.get()}, bytes_of(text), 0), -EBADF);
  EXPECT_EQ(co_await ring.write({.fd = full.get()}, bytes_of(text), 0), -ENOSPC);
  EXPECT_EQ(co_await ring.fallocate({.fd = full.get()}, 0, 0, 1), -ENODEV);
  const iovec bad[] = {{reinterpret_cast<void*>(8), 10}};
  EXPECT_EQ(co_await ring.readv({.fd = full.get()}, bad, 0), -EFAULT);
}

TEST_P(RingEngines, ErrorsAreNegativeErrnoValues) {
  EXPECT_TRUE(run(fail_in_many_ways(ring())));
  EXPECT_EQ(ring().in_flight(), 0U);
}

Task<void> fail_and_succeed_side_by_side(Ring& ring, RingFile file, int id) {
  std::string text(1, '?');
  if (id % 3 == 0) {
    EXPECT_EQ(co_await ring.read({.fd = -1}, bytes_of(text), 0), -EBADF);
  } else if (id % 3 == 1) {
    EXPECT_EQ(co_await ring.fallocate(file, 0x40000000, 0, 1), -EOPNOTSUPP);
  } else {
    EXPECT_EQ(co_await ring.write(file, bytes_of(text), static_cast<std::uint64_t>(id)), 1);
  }
}

template <class Start>
Task<void> start_many(int count, Start start) {
  TaskGroup group(static_cast<std::size_t>(count));
  for (int id = 0; id < count; ++id) co_await group.spawn(start(id));
  co_await group.join();
}

TEST_P(RingEngines, ARequestThatFailsDoesNotHoldUpThoseSubmittedWithIt) {
  const UniqueFd file = scratch_file();
  auto start = [&](int id) {
    return fail_and_succeed_side_by_side(ring(), {.fd = file.get()}, id);
  };
  EXPECT_TRUE(run(start_many(1000, start)));
}

// ---- Time

Task<milliseconds> time_sleeps(Ring& ring, int count, milliseconds each) {
  const auto begin = steady_clock::now();
  auto start = [&ring, each](int) -> Task<void> {
    EXPECT_EQ(co_await ring.sleep(each), 0);
    co_return;
  };
  co_await start_many(count, start);
  co_return std::chrono::duration_cast<milliseconds>(steady_clock::now() - begin);
}

TEST_P(RingEngines, SleepLastsAsLongAsWasAsked) {
  EXPECT_GE(run(time_sleeps(ring(), 1, milliseconds(30))).value(), milliseconds(30));
}

TEST_P(RingEngines, ASleepOfNothingOrLessEndsAtOnce) {
  EXPECT_LT(run(time_sleeps(ring(), 3, milliseconds(0))).value(), milliseconds(1000));
  EXPECT_LT(run(time_sleeps(ring(), 3, milliseconds(-5))).value(), milliseconds(1000));
}

TEST(RingSleep, MayLastLongerThanASecond) {
  for (const RingEngineKind engine : {RingEngineKind::automatic, RingEngineKind::threads}) {
    const std::unique_ptr<Ring> ring = Ring::create({.engine = engine}).value();
    const auto took = ring->run(time_sleeps(*ring, 1, milliseconds(1002))).value();
    EXPECT_GE(took, milliseconds(1002));
    EXPECT_LT(took, milliseconds(1900));
  }
}

TEST_P(RingEngines, SleepsPassSideBySide) {
  if (GetParam().options.threads == 1) return;  // one after the other
  EXPECT_LT(run(time_sleeps(ring(), 12, milliseconds(200))).value(), milliseconds(1200));
}

// ---- Many at once

constexpr int kMany = 5000;

Task<void> read_one(Ring& ring, RingFile file, int id, std::size_t& in_flight_max) {
  std::uint32_t value = 0;
  const auto memory = std::as_writable_bytes(std::span(&value, 1));
  in_flight_max = std::max(in_flight_max, ring.in_flight());
  EXPECT_EQ(co_await ring.read(file, memory, static_cast<std::uint64_t>(id) * 4), 4);
  EXPECT_EQ(value, static_cast<std::uint32_t>(id));
}

TEST_P(RingEngines, ThousandsOfRequestsAreInFlightAndNoneIsLost) {
  const UniqueFd file = scratch_file();
  std::vector<std::uint32_t> values(kMany);
  std::iota(values.begin(), values.end(), 0U);
  ASSERT_EQ(::pwrite(file.get(), values.data(), values.size() * 4, 0), kMany * 4);
  std::size_t in_flight_max = 0;
  auto start = [&](int id) { return read_one(ring(), {.fd = file.get()}, id, in_flight_max); };
  EXPECT_TRUE(run(start_many(kMany, start)));
  EXPECT_EQ(in_flight_max, std::size_t{kMany} - 1);  // looked at before its own
  EXPECT_EQ(ring().in_flight(), 0U);
}

Task<void> mixed_request(Ring& ring, RingFile file, int id) {
  std::string text(8, static_cast<char>('a' + id % 26));
  const auto offset = static_cast<std::uint64_t>(id) * 8;
  EXPECT_EQ(co_await ring.write(file, bytes_of(text), offset), 8);
  switch (id % 4) {
    case 0: EXPECT_EQ(co_await ring.sleep(std::chrono::microseconds(id)), 0); break;
    case 1: EXPECT_EQ(co_await ring.fallocate(file, 0, offset, 8), 0); break;
    case 2: EXPECT_EQ(co_await ring.offload([id] { return id; }), id); break;
    default: co_await yield(); break;
  }
  std::string read(8, '?');
  EXPECT_EQ(co_await ring.read(file, bytes_of(read), offset), 8);
  EXPECT_EQ(read, text);
}

TEST_P(RingEngines, RequestsOfAllKindsShareAQueueThatIsTooShort) {
  const UniqueFd file = scratch_file();
  auto start = [&](int id) { return mixed_request(ring(), {.fd = file.get()}, id); };
  EXPECT_TRUE(run(start_many(2000, start)));
  EXPECT_EQ(ring().in_flight(), 0U);
}

// ---- Registered files

Task<void> use_slots(Ring& ring) {
  std::vector<UniqueFd> files;
  std::vector<RingFile> registered;
  for (int i = 0; i < 100; ++i) {  // more than there are slots
    files.push_back(scratch_file());
    const int fd = files.back().get();
    registered.push_back({.fd = fd, .slot = ring.register_file(fd)});
  }
  EXPECT_EQ(registered.back().slot, -1);
  for (const RingFile file : registered) co_await write_then_read(ring, file);
  for (const RingFile file : registered) {
    // The same file through its descriptor.
    EXPECT_EQ(co_await read_text(ring, {.fd = file.fd}, 1000, 5), "hello");
  }
  const bool has_table = registered.front().slot >= 0;
  for (const RingFile file : registered) ring.unregister_file(file.slot);
  const int again = ring.register_file(files.front().get());
  EXPECT_EQ(again >= 0, has_table);
  co_await write_then_read(ring, {.fd = files.front().get(), .slot = again});
  ring.unregister_file(again);
}

TEST_P(RingEngines, RegisteredFilesWorkAndSoDoThoseForWhichNoSlotIsLeft) {
  EXPECT_TRUE(run(use_slots(ring())));
  const bool expected =
      ring().engine() == RingEngineKind::io_uring && GetParam().options.allow.registered_files;
  EXPECT_EQ(ring().features().registered_files, expected);
}

Task<bool> ends_after_unregistering(Ring& ring) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const int slot = ring.register_file(writer.get());
  writer = UniqueFd();
  char byte = 0;
  if (slot >= 0) {
    EXPECT_EQ(::read(reader.get(), &byte, 1), -1) << "the kernel keeps the file open";
  }
  ring.unregister_file(slot);
  for (int i = 0; i < 500; ++i) {
    if (::read(reader.get(), &byte, 1) == 0) co_return true;  // end of file: no writer is left
    co_await ring.sleep(milliseconds(10));
  }
  co_return false;
}

TEST_P(RingEngines, AFileThatIsUnregisteredIsLetGo) {
  EXPECT_TRUE(run(ends_after_unregistering(ring())).value());
}

// ---- Offload

Task<void> offload_things(Ring& ring) {
  const std::thread::id own = std::this_thread::get_id();
  const std::thread::id other = co_await ring.offload([] { return std::this_thread::get_id(); });
  EXPECT_NE(own, other);
  EXPECT_EQ(std::this_thread::get_id(), own);

  auto number = std::make_unique<int>(4);
  auto twice = [number = std::move(number)] { return std::make_unique<int>(*number * 2); };
  const std::unique_ptr<int> doubled = co_await ring.offload(std::move(twice));
  EXPECT_EQ(*doubled, 8);

  int seen = 0;
  co_await ring.offload([&seen] { seen = 3; });
  EXPECT_EQ(seen, 3);

  auto fails = []() -> Result<int> { return fail(ErrorKind::corrupt_image, "bad"); };
  const Result<int> failed = co_await ring.offload(fails);
  EXPECT_EQ(failed.error().kind(), ErrorKind::corrupt_image);
}

TEST_P(RingEngines, OffloadRunsOnAnotherThreadAndComesBack) {
  EXPECT_TRUE(run(offload_things(ring())));
}

Task<void> offload_one(Ring& ring, long id, long& sum) {
  sum += co_await ring.offload([id] { return id; });
}

TEST_P(RingEngines, ThousandsOfOffloadsComeBack) {
  long sum = 0;
  auto start = [&](int id) { return offload_one(ring(), id, sum); };
  EXPECT_TRUE(run(start_many(kMany, start)));
  EXPECT_EQ(sum, static_cast<long>(kMany) * (kMany - 1) / 2);
}

// ---- Work from other threads

/// Lets a coroutine wait, with the ring held, for something from outside.
class Gate {
 public:
  explicit Gate(Ring& ring) : ring_(ring) {}
  bool await_ready() const noexcept { return open_; }
  void await_suspend(std::coroutine_handle<> handle) {
    ring_.hold();
    waiting_ = handle;
  }
  void await_resume() const noexcept {}
  /// On the ring's thread.
  void open() {
    open_ = true;
    if (!waiting_) return;
    ring_.unhold();
    ring_.post(std::exchange(waiting_, nullptr));
  }

 private:
  Ring& ring_;
  bool open_ = false;
  std::coroutine_handle<> waiting_;
};

Task<void> wait_for(Gate& gate) { co_await gate; }

struct Posts {
  Posts(Ring& ring, int expected) : gate(ring), left(expected) {}
  Gate gate;
  int left;
  std::thread::id ring_thread = std::this_thread::get_id();
  std::vector<std::vector<int>> seen{4};
};

struct Post final : RemoteWork {
  void run() noexcept override {
    EXPECT_EQ(std::this_thread::get_id(), posts->ring_thread);
    posts->seen[thread].push_back(id);
    if (--posts->left == 0) posts->gate.open();
  }
  Posts* posts = nullptr;
  std::size_t thread = 0;
  int id = 0;
};

TEST_P(RingEngines, WorkPostedFromSeveralThreadsRunsInEachThreadsOrder) {
  constexpr int kEach = 2000;
  Posts posts(ring(), 4 * kEach);
  std::vector<std::vector<Post>> work(4, std::vector<Post>(kEach));
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (int id = 0; id < kEach; ++id) {
        Post& post = work[thread][static_cast<std::size_t>(id)];
        post.posts = &posts;
        post.thread = thread;
        post.id = id;
        ring().post_remote(post);
        if (id % 100 == 0) std::this_thread::sleep_for(milliseconds(1));  // let the ring fall idle
      }
    });
  }
  EXPECT_TRUE(run(wait_for(posts.gate)));
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<int>& seen : posts.seen) {
    EXPECT_EQ(seen.size(), std::size_t{kEach});
    EXPECT_TRUE(std::ranges::is_sorted(seen));
  }
}

struct Reposting final : RemoteWork {
  Reposting(Ring& target, int count) : ring(target), left(count), gate(target) {}
  void run() noexcept override {
    if (--left == 0) return gate.open();
    ring.post_remote(*this);
  }
  Ring& ring;
  int left;
  Gate gate;
};

TEST_P(RingEngines, WorkMayPostItselfAgain) {
  Reposting work(ring(), 1000);
  ring().post_remote(work);
  EXPECT_TRUE(run(wait_for(work.gate)));
  EXPECT_EQ(work.left, 0);
}

// ---- Interrupts

TEST_P(RingEngines, AnInterruptFromAnotherThreadWakesAnIdleRing) {
  Gate gate(ring());
  unsigned seen = 0;
  ring().set_interrupt_handler([&](unsigned bits) {
    seen |= bits;
    if (seen == 0b101) gate.open();
  });
  std::thread other([this] {
    std::this_thread::sleep_for(milliseconds(20));
    ring().interrupt(0b001);
    std::this_thread::sleep_for(milliseconds(20));
    ring().interrupt(0b100);
  });
  EXPECT_TRUE(run(wait_for(gate)));
  other.join();
  EXPECT_EQ(seen, 0b101U);
}

Task<void> sleep_and_count(Ring& ring, const unsigned& seen, unsigned& seen_before_the_end) {
  EXPECT_EQ(co_await ring.sleep(milliseconds(300)), 0);
  seen_before_the_end = seen;
}

TEST_P(RingEngines, AnInterruptIsHandledWhileARequestIsInFlight) {
  unsigned seen = 0;
  unsigned seen_before_the_end = 0;
  ring().set_interrupt_handler([&](unsigned bits) { seen |= bits; });
  std::thread other([this] {
    std::this_thread::sleep_for(milliseconds(20));
    ring().interrupt(2);
  });
  EXPECT_TRUE(run(sleep_and_count(ring(), seen, seen_before_the_end)));
  other.join();
  EXPECT_EQ(seen_before_the_end, 2U);
}

std::atomic<Ring*> g_signal_ring = nullptr;
void interrupt_on_signal(int) { g_signal_ring.load()->interrupt(1); }

/// Sends SIGALRM to the process every so often, for as long as it lives.
class Alarms {
 public:
  Alarms(Ring& ring, std::chrono::microseconds interval) {
    g_signal_ring = &ring;
    struct sigaction action{};
    action.sa_handler = interrupt_on_signal;  // no SA_RESTART: system calls see EINTR
    ::sigaction(SIGALRM, &action, &before_);
    const timeval time{.tv_sec = 0, .tv_usec = interval.count()};
    const itimerval timer{.it_interval = time, .it_value = time};
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }
  Alarms(const Alarms&) = delete;
  Alarms& operator=(const Alarms&) = delete;
  ~Alarms() {
    const itimerval off{};
    ::setitimer(ITIMER_REAL, &off, nullptr);
    ::sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  struct sigaction before_{};
};

TEST_P(RingEngines, ASignalHandlerWakesAnIdleRing) {
  Gate gate(ring());
  int count = 0;
  ring().set_interrupt_handler([&](unsigned bits) {
    EXPECT_EQ(bits, 1U);
    if (++count == 20) gate.open();
  });
  const Alarms alarms(ring(), milliseconds(3));
  EXPECT_TRUE(run(wait_for(gate)));
  EXPECT_GE(count, 20);
}

TEST_P(RingEngines, RequestsSurviveAStormOfSignals) {
  const UniqueFd file = scratch_file();
  int count = 0;
  ring().set_interrupt_handler([&](unsigned) { ++count; });
  const Alarms alarms(ring(), std::chrono::microseconds(200));
  const auto end = steady_clock::now() + milliseconds(300);
  while (steady_clock::now() < end) {
    auto start = [&](int id) { return mixed_request(ring(), {.fd = file.get()}, id); };
    ASSERT_TRUE(run(start_many(100, start)));
  }
  EXPECT_GT(count, 10);
}

TEST_P(RingEngines, InterruptsWithoutAHandlerAreIgnored) {
  ring().interrupt(1);
  EXPECT_GE(run(time_sleeps(ring(), 1, milliseconds(10))).value(), milliseconds(10));
}

// ---- Two rings

struct PingPong final : RemoteWork {
  void run() noexcept override {
    if (--left <= 0) gate->open();
    if (left >= 0) other_ring->post_remote(*other);
  }
  int left = 0;
  Gate* gate = nullptr;
  Ring* other_ring = nullptr;
  PingPong* other = nullptr;
};

Task<void> do_io_until(Gate& gate, Ring& ring, RingFile file, bool& done) {
  auto work = [&](int id) -> Task<void> {
    if (id == 0) {
      co_await gate;
      done = true;
      co_return;
    }
    while (!done) co_await mixed_request(ring, file, id);
  };
  co_await start_many(8, work);
}

TEST_P(RingEngines, TwoRingsOnTwoThreadsWorkAndPostToEachOther) {
  const UniqueFd file = scratch_file();
  const UniqueFd other_file = scratch_file();
  Gate gate(ring());
  PingPong ping;
  PingPong pong;
  std::atomic<bool> other_is_up = false;
  std::atomic<bool> may_end = false;
  std::thread other([&] {
    const std::unique_ptr<Ring> own = Ring::create(GetParam().options).value();
    Gate own_gate(*own);
    ping = {};
    pong.left = ping.left = 500;
    pong.gate = &own_gate;
    pong.other = &ping;
    pong.other_ring = &ring();
    ping.gate = &gate;
    ping.other = &pong;
    ping.other_ring = own.get();
    other_is_up = true;
    bool done = false;
    EXPECT_TRUE(own->run(do_io_until(own_gate, *own, {.fd = other_file.get()}, done)));
    while (!may_end) std::this_thread::yield();  // until nobody posts here any more
  });
  while (!other_is_up) std::this_thread::yield();
  ring().post_remote(ping);
  bool done = false;
  EXPECT_TRUE(run(do_io_until(gate, ring(), {.fd = file.get()}, done)));
  may_end = true;
  other.join();
}

// ---- The life of a ring

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

TEST_P(RingEngines, ARingThatEndsLeavesNoDescriptorBehind) {
  TearDown();
  const int before = open_descriptors();
  for (int i = 0; i < 20; ++i) {
    const std::unique_ptr<Ring> again = Ring::create(GetParam().options).value();
    const UniqueFd file = scratch_file();
    EXPECT_TRUE(again->run(write_then_read(*again, {.fd = file.get()})));
    EXPECT_TRUE(again->run(offload_things(*again)));
  }
  EXPECT_EQ(open_descriptors(), before);
}

TEST_P(RingEngines, ARingThatWasNeverUsedEndsToo) {
  TearDown();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Ring::create(GetParam().options));
}

TEST_P(RingEngines, IsTheCurrentOneOfItsThread) {
  EXPECT_EQ(&Ring::current(), &ring());
  EXPECT_EQ(&RunLoop::current(), &ring());
}

TEST_P(RingEngines, UseOnlyTheFeaturesThatAreAllowed) {
  const RingFeatures& used = ring().features();
  const RingFeatures& allowed = GetParam().options.allow;
  EXPECT_TRUE(allowed.single_issuer || !used.single_issuer);
  EXPECT_TRUE(allowed.defer_taskrun || !used.defer_taskrun);
  EXPECT_TRUE(allowed.coop_taskrun || !used.coop_taskrun);
  EXPECT_TRUE(allowed.registered_files || !used.registered_files);
  EXPECT_TRUE(allowed.registered_buffers || !used.registered_buffers);
  EXPECT_EQ(ring().engine(), GetParam().options.engine);
  EXPECT_EQ(ring().fallback_reason(), "");
}

// ---- Mistakes

class RingDeathTest : public ::testing::TestWithParam<RingEngineKind> {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};
INSTANTIATE_TEST_SUITE_P(, RingDeathTest,
                         ::testing::Values(RingEngineKind::automatic, RingEngineKind::threads),
                         [](const auto& suite) {
                           return suite.param == RingEngineKind::threads ? "Threads" : "Automatic";
                         });

TEST_P(RingDeathTest, ADeadlockEndsTheProcess) {
  EXPECT_DEATH(
      {
        const std::unique_ptr<Ring> ring = Ring::create({.engine = GetParam()}).value();
        Gate gate(*ring);
        auto wait = [&]() -> Task<void> {
          ring->unhold();  // what the gate takes
          co_await gate;
        };
        (void)ring->run(wait());
      },
      "CHECK failed: in_flight_ > 0 .. holds_ > 0");
}

TEST_P(RingDeathTest, AThreadHasAtMostOneRing) {
  EXPECT_DEATH(
      {
        const auto first = Ring::create({.engine = GetParam()});
        const auto second = Ring::create({.engine = GetParam()});
      },
      "CHECK failed: t_current == nullptr");
}

TEST_P(RingDeathTest, ARingMayNotEndWhileARequestIsInFlight) {
  EXPECT_DEATH(
      {
        std::unique_ptr<Ring> ring = Ring::create({.engine = GetParam()}).value();
        auto sleep = [&]() -> Task<void> { co_await ring->sleep(std::chrono::seconds(1)); };
        Task<void> task = sleep();
        task.start();
        ring.reset();
      },
      "CHECK failed: in_flight_ == 0");
}

TEST(NoRingDeathTest, AThreadWithoutARingHasNoCurrentOne) {
  EXPECT_DEATH((void)Ring::current(), "CHECK failed: t_ring != nullptr");
}

}  // namespace
}  // namespace platter
