// Locks between processes, and hosts that share a folder: files that have names.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "io/cancel.h"
#include "io/task.h"
#include "io/unique_fd.h"
#include "src/provision/folder.h"

namespace platter::provision {

/// The order in which one operation takes locks. A base image's lock is held alone or within one
/// instance's lock; never two of a kind. Image locks (io/image_lock.h) come last and are never waited
/// for. So nobody waits for somebody who waits for him.
enum class LockRank : std::uint8_t { instance, base };

/// The locks that one operation holds. CHECKs the order. Outlives them; one thread.
class LockLedger {
 public:
  LockLedger() = default;
  LockLedger(const LockLedger&) = delete;
  LockLedger& operator=(const LockLedger&) = delete;
  ~LockLedger();

 private:
  friend class NamedLock;
  void enter(LockRank rank);
  void leave(LockRank rank) noexcept;
  std::vector<LockRank> held_;
};

struct LockWait {
  /// 0: not at all.
  std::chrono::milliseconds timeout = std::chrono::minutes(30);
  const CancelToken* cancel = nullptr;
};

/// What the lock's file is good for when the lock is given up.
enum class LockFile : std::uint8_t {
  stays,
  goes,  ///< it is removed: who waits for it makes another one
};

/// An exclusive lock on a whole file, held until destruction or the death of the process: nothing
/// stale can remain. It keeps out other processes' fcntl locks (lockf, too), and other holders in this process. Within
/// the process, who came first is served first; between processes, who looks first.
///
/// While it is held, the file contains the holder's process id.
class NamedLock {
 public:
  /// Makes the file if it is missing. `locks` and `ledger` outlive the lock. REQUIRES: a ring; the rank
  /// is behind those of the locks that the ledger knows.
  /// Errors: timed_out (the message names the holder), cancelled, permission, no_space, those of
  /// Folder, and refused_by_policy where the file has other names as well.
  static Task<std::unique_ptr<NamedLock>> acquire(const Folder& locks, std::string name,
                                                  LockRank rank, LockLedger& ledger, LockWait wait,
                                                  LockFile file = LockFile::stays);
  ~NamedLock();
  NamedLock(const NamedLock&) = delete;
  NamedLock& operator=(const NamedLock&) = delete;

  /// From now on, the lock's file goes when the lock is given up.
  void remove_file_when_done() noexcept { file_ = LockFile::goes; }

 private:
  class Turn;
  NamedLock(const Folder& locks, std::string name, LockRank rank, LockLedger& ledger,
            LockFile file);
  Result<bool> try_lock();
  Result<bool> is_named() const;
  Result<void> check_names() const;
  Result<void> sign() const;
  std::string holder() const;

  const Folder& locks_;
  std::string name_;
  LockRank rank_;
  LockLedger& ledger_;
  LockFile file_;
  UniqueFd fd_;
  bool locked_ = false;
  std::unique_ptr<Turn> turn_;
};

}  // namespace platter::provision
