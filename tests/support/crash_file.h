// A file on a disk that may lose power at any moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "io/file.h"
#include "tests/support/crash_plan.h"
#include "tests/support/disk.h"

namespace platter::test {

struct CrashFileOptions {
  std::string name = "crash";
  /// Each operation lets others run up to so many times before it takes effect, and again before
  /// it returns, so that operations are in flight at once. 0: each finishes at once.
  unsigned yields_max = 0;
  std::uint64_t seed = 0;
  /// A discarded range reads as this byte.
  std::byte discarded{0};
  /// Never gets less.
  std::optional<std::uint64_t> space_left = std::uint64_t{1} << 40;
};

/// Keeps what is durable apart from what an operation only reported as done.
///
/// The disk's atom is the sector of 512 bytes: after a crash each sector holds what it held at the
/// last flush, or what any later operation made of it, independently of all others; and so does the
/// size. A flush makes durable what had returned when it was called; what was in flight then stays
/// uncertain. A flush that fails makes nothing durable, and nothing ever becomes durable again.
///
/// crash_state() costs time by what was not flushed, not by the size of the disk. To cover every
/// moment, look at the states before each flush takes effect, and at the end: a crash at an earlier
/// moment is one of the prefixes.
class CrashFile final : public File {
 public:
  static constexpr std::uint64_t kSectorSize = 512;

  explicit CrashFile(CrashFileOptions options = {}) : CrashFile(Disk(), std::move(options)) {}
  /// What is on `disk` is durable.
  explicit CrashFile(Disk disk, CrashFileOptions options = {});

  const std::string& name() const noexcept override { return options_.name; }
  const FileTraits& traits() const noexcept override { return traits_; }
  Task<std::uint64_t> size() override { co_return live_.size(); }
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override;
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override;
  /// All pieces are one operation, as one request of the kernel is.
  Task<void> writev(std::uint64_t offset, std::span<const iovec> data) override;
  Task<void> flush() override;
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override;
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override;
  Task<void> truncate(std::uint64_t size) override;
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override;
  Task<std::optional<std::uint64_t>> space_left() override { co_return options_.space_left; }
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override;
  Task<void> close() override { co_return; }

  /// Unflushed operations: those whose effect a crash may undo.
  std::size_t crash_points() const noexcept { return pending_.size(); }
  /// The disk after a crash now.
  Disk crash_state(const CrashPlan& plan) const;
  /// Every prefix, every single one missing, every single one alone.
  std::vector<CrashPlan> systematic_plans() const;

  const Disk& live() const noexcept { return live_; }
  const Disk& durable() const noexcept { return durable_; }

  /// Called when a flush is about to make things durable, and before that.
  void before_flush(std::function<void()> look) { before_flush_ = std::move(look); }
  /// From now on every flush fails.
  void fail_flushes(int os_error) { flush_os_error_ = os_error; }
  std::uint64_t flushes() const noexcept { return flushes_; }

 private:
  /// What an operation made of whole sectors.
  struct Change {
    std::uint64_t offset;
    std::uint64_t length;
    std::vector<std::byte> data;  // empty: zeroes
  };
  struct Operation {
    std::uint64_t id;
    std::vector<Change> changes;
    std::optional<std::uint64_t> new_size;
    bool returned = false;
  };

  Task<void> pause();
  Result<void> check_range(std::uint64_t offset, std::uint64_t length) const;
  std::uint64_t record(std::uint64_t offset, std::uint64_t length, bool zeroes,
                       std::uint64_t size_before);
  void add_change(Operation& operation, std::uint64_t begin, std::uint64_t end) const;
  void returned(std::uint64_t id);
  void make_durable(const std::vector<std::uint64_t>& ids);

  CrashFileOptions options_;
  FileTraits traits_{.in_memory = true};
  Disk live_;
  Disk durable_;
  std::deque<Operation> pending_;  // in the order of their effect, ids ascending
  std::uint64_t next_id_ = 0;
  std::uint64_t flushes_ = 0;
  int flush_os_error_ = 0;
  std::function<void()> before_flush_;
  std::mt19937_64 random_;
};

}  // namespace platter::test
