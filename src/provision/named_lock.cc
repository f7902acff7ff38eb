#include "src/provision/named_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "io/check.h"
#include "io/ring.h"

namespace platter::provision {
namespace {

using Clock = std::chrono::steady_clock;

constexpr mode_t kLockMode = 0644;  // as others make them

// Waiting is asking again: a blocking request could be neither cancelled nor bounded. Other processes all
// ask equally often, however long they have waited, or newcomers would overtake them.
std::chrono::nanoseconds pause_between_attempts() {
  thread_local std::minstd_rand random(std::random_device{}());
  return std::chrono::microseconds(std::uniform_int_distribution(1000, 5000)(random));
}

// Within the process the queue says who is next, however often who asks: soon if few are before us and
// they are quick, seldom if not.
std::chrono::nanoseconds pause_in_queue(std::size_t others_before, Clock::duration waited) {
  constexpr std::chrono::microseconds kEach{50};
  constexpr std::chrono::milliseconds kMost{5};
  return std::min<std::chrono::nanoseconds>(others_before * kEach + waited / 32, kMost);
}

struct ::flock whole_file(short type) {
  struct ::flock lock{};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  return lock;
}

// One queue for each file that this process waits for or holds.
using QueueKey = std::tuple<dev_t, ino_t, std::string>;
struct Queues {
  std::mutex mutex;
  std::map<QueueKey, std::deque<const void*>> waiting;
};
Queues& queues() {
  static Queues all;
  return all;
}

}  // namespace

LockLedger::~LockLedger() { PLATTER_CHECK(held_.empty()); }

void LockLedger::enter(LockRank rank) {
  PLATTER_CHECK(held_.empty() || held_.back() < rank);
  held_.push_back(rank);
}

void LockLedger::leave(LockRank rank) noexcept {
  const auto found = std::ranges::find(held_, rank);
  PLATTER_CHECK(found != held_.end());
  held_.erase(found);
}

// A place in this process' queue for one lock, from asking until the lock is given up.
class NamedLock::Turn {
 public:
  explicit Turn(QueueKey key) : key_(std::move(key)) {
    const std::scoped_lock guard(queues().mutex);
    queues().waiting[key_].push_back(this);
  }
  ~Turn() {
    const std::scoped_lock guard(queues().mutex);
    const auto queue = queues().waiting.find(key_);
    std::erase(queue->second, this);
    if (queue->second.empty()) queues().waiting.erase(queue);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  std::size_t others_before() const {
    const std::scoped_lock guard(queues().mutex);
    const auto& queue = queues().waiting[key_];
    return static_cast<std::size_t>(std::ranges::find(queue, this) - queue.begin());
  }

 private:
  QueueKey key_;
};

NamedLock::NamedLock(const Folder& locks, std::string name, LockRank rank, LockLedger& ledger,
                     LockFile file)
    : locks_(locks), name_(std::move(name)), rank_(rank), ledger_(ledger), file_(file) {
  ledger_.enter(rank_);
}

NamedLock::~NamedLock() {
  if (locked_) {
    // Best effort: a name that stays is a file that the next one uses, a number that stays is not
    // believed unless somebody holds the lock.
    if (file_ == LockFile::goes && is_named().value_or(false)) {
      static_cast<void>(locks_.remove_file(name_));
    }
    static_cast<void>(::ftruncate(fd_.get(), 0) == 0);
  }
  fd_ = UniqueFd();  // gives up the lock before the next one of this process has its turn
  ledger_.leave(rank_);
}

Result<bool> NamedLock::is_named() const {
  struct stat ours{};
  if (::fstat(fd_.get(), &ours) != 0) return fail_errno(errno, "stat", locks_.path_of(name_));
  const auto named = locks_.status(name_);
  if (!named) return fail(named.error().clone());
  return *named && (*named)->st_dev == ours.st_dev && (*named)->st_ino == ours.st_ino;
}

// The file is going to be cut and given away: it must not be another file's second name.
Result<void> NamedLock::check_names() const {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) return fail_errno(errno, "stat", locks_.path_of(name_));
  if (status.st_nlink <= 1) return {};
  return fail(ErrorKind::refused_by_policy,
              fmt::format("'{}' has {} names (hard links): it is no lock", locks_.path_of(name_),
                          status.st_nlink));
}

// False: somebody else holds it.
Result<bool> NamedLock::try_lock() {
  for (;;) {
    if (!fd_) {
      Result<UniqueFd> opened = locks_.open_file(name_, O_RDWR | O_CREAT, kLockMode);
      if (!opened) return fail(std::move(opened.error()));
      fd_ = *std::move(opened);
      if (Result<void> ours = check_names(); !ours) return fail(std::move(ours.error()));
    }
    struct ::flock lock = whole_file(F_WRLCK);
    if (::fcntl(fd_.get(), F_OFD_SETLK, &lock) != 0) {
      if (errno != EAGAIN && errno != EACCES) {
        return fail_errno(errno, "lock", locks_.path_of(name_));
      }
      // Who holds a file that has lost its name holds nothing.
      Result<bool> named = is_named();
      if (!named) return named;
      if (*named) return false;
    } else {
      Result<bool> named = is_named();
      if (!named || *named) return named;
    }
    fd_ = UniqueFd();
  }
}

// For those who wait.
Result<void> NamedLock::sign() const {
  const std::string path = locks_.path_of(name_);
  const std::string text = fmt::format("{}\n", ::getpid());
  if (::ftruncate(fd_.get(), 0) != 0) return fail_errno(errno, "write", path);
  if (::pwrite(fd_.get(), text.data(), text.size(), 0) != std::ssize(text)) {
    return fail_errno(errno == 0 ? EIO : errno, "write", path);
  }
  return locks_.hand_over(fd_.get(), name_);
}

// Classic locks tell who has them; of ours, the file does.
std::string NamedLock::holder() const {
  struct ::flock lock = whole_file(F_WRLCK);
  if (fd_ && ::fcntl(fd_.get(), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK &&
      lock.l_pid > 0) {
    return fmt::format("process {}", lock.l_pid);
  }
  std::array<char, 32> text{};
  const ssize_t count = fd_ ? ::pread(fd_.get(), text.data(), text.size(), 0) : 0;
  int pid = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + std::max<ssize_t>(count, 0), pid);
  if (parsed.ec == std::errc() && pid > 0) return fmt::format("process {}", pid);
  return turn_->others_before() == 0 ? "an unknown process" : "this process";
}

Task<std::unique_ptr<NamedLock>> NamedLock::acquire(const Folder& locks, std::string name,
                                                    LockRank rank, LockLedger& ledger,
                                                    LockWait wait, LockFile file) {
  struct stat folder{};
  if (::fstat(locks.fd(), &folder) != 0) co_return fail_errno(errno, "stat", locks.path());
  std::unique_ptr<NamedLock> lock(new NamedLock(locks, std::move(name), rank, ledger, file));
  lock->turn_ = std::make_unique<Turn>(QueueKey(folder.st_dev, folder.st_ino, lock->name_));
  const Clock::time_point start = Clock::now();
  for (;;) {
    const std::size_t others = lock->turn_->others_before();
    if (others == 0) lock->locked_ = co_await lock->try_lock();
    if (lock->locked_) break;
    const Clock::duration waited = Clock::now() - start;
    if (waited >= wait.timeout) {
      co_return fail(ErrorKind::timed_out,
                     fmt::format("'{}' is still locked by {} after {} ms",
                                 locks.path_of(lock->name_), lock->holder(), wait.timeout.count()));
    }
    co_await look_for_cancel(wait.cancel);
    const int slept = co_await Ring::current().sleep(others == 0 ? pause_between_attempts()
                                                                 : pause_in_queue(others, waited));
    if (slept < 0) co_return fail_errno(-slept, "wait for", locks.path_of(lock->name_));
  }
  co_await lock->sign();
  co_return lock;
}

}  // namespace platter::provision
