#include "src/provision/named_lock.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/in_child.h"
#include "tests/support/run_tasks.h"

namespace platter::provision::test {
namespace {

using namespace std::chrono_literals;
using platter::test::status_of;

struct Holding {
  LockLedger ledger;
  std::unique_ptr<NamedLock> lock;
};

class NamedLocks : public testing::Test {
 protected:
  Result<void> take(Holding& holding, const std::string& name,
                    std::chrono::milliseconds timeout = 10ms, LockFile file = LockFile::stays) {
    auto lock = ring_->run(NamedLock::acquire(folder_, name, LockRank::base, holding.ledger,
                                              {.timeout = timeout}, file));
    if (!lock) return fail(std::move(lock.error()));
    holding.lock = *std::move(lock);
    return {};
  }

  platter::test::TempDir dir_;
  Folder folder_ = Folder::open(dir_.path()).value();
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

// As lockf() and Nova's lock files do it.
int classic_lock(const std::string& path, int command = F_SETLK) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  EXPECT_GE(fd, 0);
  struct ::flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (::fcntl(fd, command, &lock) == 0) return fd;
  ::close(fd);
  return -1;
}

TEST_F(NamedLocks, KeepOthersOut) {
  Holding first;
  ASSERT_TRUE(take(first, "a"));
  Holding second;
  const auto refused = take(second, "a");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind(), ErrorKind::timed_out);
  EXPECT_NE(refused.error().message().find("this process"), std::string::npos);
  const auto signature = platter::test::read_file(dir_ / "a");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(signature.data()), signature.size()),
            std::to_string(::getpid()) + "\n");
  EXPECT_TRUE(take(second, "b"));
  second.lock.reset();
  first.lock.reset();
  EXPECT_TRUE(take(second, "a"));
  EXPECT_TRUE(status_of(dir_ / "a").exists);
  second.lock.reset();
  EXPECT_EQ(status_of(dir_ / "a").size, 0U);
}

TEST_F(NamedLocks, AndClassicLocksKeepEachOtherOut) {
  Holding holding;
  ASSERT_TRUE(take(holding, "a"));
  EXPECT_TRUE(platter::test::in_child([&] { EXPECT_LT(classic_lock(dir_ / "a"), 0); }));
  holding.lock.reset();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool locked = classic_lock(dir_ / "a") >= 0;
    static_cast<void>(::write(ready[1], locked ? "y" : "n", 1));
    ::pause();
    ::_exit(0);
  }
  char answer = 0;
  ASSERT_EQ(::read(ready[0], &answer, 1), 1);
  ASSERT_EQ(answer, 'y');
  const auto refused = take(holding, "a");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message().find("process " + std::to_string(child)), std::string::npos)
      << refused.error().message();
  // Nothing stale remains of a holder that was killed.
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  EXPECT_TRUE(take(holding, "a"));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(NamedLocks, HeldOnAFileWithoutItsNameAreNone) {
  Holding old;
  ASSERT_TRUE(take(old, "a"));
  ASSERT_EQ(::unlink((dir_ / "a").c_str()), 0);
  // (Within the process, the queue would still make it wait.)
  EXPECT_TRUE(platter::test::in_child([&] { EXPECT_GE(classic_lock(dir_ / "a"), 0); }));
  old.lock.reset();
  Holding next;
  EXPECT_TRUE(take(next, "a"));
}

TEST_F(NamedLocks, AreNoOtherFilesSecondName) {
  const int fd = ::open((dir_ / "other").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::write(fd, "text", 4), 4);
  ::close(fd);
  ASSERT_EQ(::link((dir_ / "other").c_str(), (dir_ / "a").c_str()), 0);
  Holding holding;
  const Result<void> taken = take(holding, "a");
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind(), ErrorKind::refused_by_policy);
  EXPECT_EQ(status_of(dir_ / "other").size, 4U);
}

TEST_F(NamedLocks, GoWithTheirFileWhenAskedTo) {
  Holding holding;
  ASSERT_TRUE(take(holding, "a", 10ms, LockFile::goes));
  EXPECT_TRUE(status_of(dir_ / "a").exists);
  holding.lock.reset();
  EXPECT_TRUE(folder_.names()->empty());
}

TEST_F(NamedLocks, EndWaitingWhenCancelled) {
  Holding holding;
  ASSERT_TRUE(take(holding, "a"));
  CancelToken cancel;
  cancel.request();
  LockLedger ledger;
  const auto lock =
      ring_->run(NamedLock::acquire(folder_, "a", LockRank::base, ledger, {.cancel = &cancel}));
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().kind(), ErrorKind::cancelled);
}

Task<void> append_under_lock(const Folder& folder, int number, std::vector<int>& order) {
  LockLedger ledger;
  const auto lock = co_await NamedLock::acquire(folder, "a", LockRank::base, ledger, {});
  order.push_back(number);
  const int slept = co_await Ring::current().sleep(1ms);
  PLATTER_CHECK(slept >= 0);
  order.push_back(number);
}

TEST_F(NamedLocks, ServeThisProcessInOrder) {
  std::vector<int> order;
  std::vector<Task<void>> tasks;
  for (int number = 0; number < 8; ++number)
    tasks.push_back(append_under_lock(folder_, number, order));
  ASSERT_TRUE(ring_->run(platter::test::all_at_once(std::move(tasks))));
  for (int at = 0; at < 16; ++at) EXPECT_EQ(order.at(static_cast<std::size_t>(at)), at / 2);
}

// scripts/soak asks for more.
int from_environment(const char* name, int otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? std::atoi(text) : otherwise;
}

// Each adds one to a number in a file, many times; a lock that lets two in loses some.
TEST_F(NamedLocks, LoseNoUpdateBetweenProcesses) {
  const int processes = from_environment("PLATTER_LOCK_PROCESSES", 8);
  const int rounds = from_environment("PLATTER_LOCK_ROUNDS", 25);
  platter::test::write_file(dir_ / "number", std::vector<std::byte>(sizeof(int)));
  ring_.reset();  // a thread has one
  std::vector<pid_t> children;
  for (int i = 0; i < processes; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto ring = Ring::create().value();
      const int fd = ::open((dir_ / "number").c_str(), O_RDWR);
      for (int round = 0; round < rounds; ++round) {
        LockLedger ledger;
        const LockFile file = round % 3 == 0 ? LockFile::goes : LockFile::stays;
        auto lock = ring->run(NamedLock::acquire(folder_, "a", LockRank::base, ledger, {}, file));
        int number = 0;
        if (!lock || ::pread(fd, &number, sizeof number, 0) != sizeof number) ::_exit(1);
        ++number;
        if (::pwrite(fd, &number, sizeof number, 0) != sizeof number) ::_exit(1);
        lock->reset();
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  int number = 0;
  std::memcpy(&number, platter::test::read_file(dir_ / "number").data(), sizeof number);
  EXPECT_EQ(number, processes * rounds);
}

TEST_F(NamedLocks, TakenAgainstTheirOrderEndTheProgram) {
  LockLedger ledger;
  const auto base = ring_->run(NamedLock::acquire(folder_, "a", LockRank::base, ledger, {}));
  ASSERT_TRUE(base);
  EXPECT_DEATH(
      static_cast<void>(NamedLock::acquire(folder_, "b", LockRank::instance, ledger, {}).start()),
      "CHECK failed");
}

}  // namespace
}  // namespace platter::provision::test
