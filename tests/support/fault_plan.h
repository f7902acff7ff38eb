// When which operations of a FaultyFile go wrong, and how.
#pragma once

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include "tests/support/file_operation.h"

namespace platter::test {

/// What goes wrong in one operation.
struct Fault {
  enum class Error : std::uint8_t {
    before,  ///< nothing is done
    midway,  ///< a part is done: reads and writes end short; what has no parts is not done
    after,   ///< all is done, and the error is reported all the same
    none,    ///< nothing goes wrong: it only takes longer
  };
  Error error = Error::before;
  int os_error = EIO;
  /// midway: how much is done, in bytes; by default half.
  std::optional<std::uint64_t> bytes{};
  /// Before anything else, everything that is ready runs this many times ...
  unsigned yields = 0;
  /// ... and this much time passes (needs a Ring).
  std::chrono::nanoseconds sleep{0};

  static Fault fails(int os_error = EIO) { return {.os_error = os_error}; }
  static Fault ends_short(int os_error = EIO) {
    return {.error = Error::midway, .os_error = os_error};
  }
  static Fault fails_late(int os_error = EIO) {
    return {.error = Error::after, .os_error = os_error};
  }
  static Fault waits(unsigned yields) { return {.error = Error::none, .yields = yields}; }
  static Fault sleeps(std::chrono::nanoseconds time) {
    return {.error = Error::none, .sleep = time};
  }

  /// How much of `length` bytes is done.
  std::uint64_t part_of(std::uint64_t length) const noexcept;
};

/// Rules and counters, shared by all files that it was given to: with an image and its backing file
/// on one plan, n counts the operations of both. Of the rules that apply, the first one counts.
///
/// To fail each operation in turn: run once without a rule, then once for each n < count().
class FaultPlan {
 public:
  /// The n-th operation, counted from 0.
  FaultPlan& at(std::uint64_t n, Fault fault);
  /// The n-th operation of this kind.
  FaultPlan& at(FileOperation kind, std::uint64_t n, Fault fault);
  /// The n-th operation and every later one: a device that went away.
  FaultPlan& from(std::uint64_t n, Fault fault);
  /// Each operation, with this probability.
  FaultPlan& sometimes(double probability, std::uint64_t seed, Fault fault);

  /// Counts an operation that begins; the fault to give it, if any.
  std::optional<Fault> next(FileOperation kind);

  std::uint64_t count() const noexcept { return count_; }
  std::uint64_t count(FileOperation kind) const noexcept {
    return counts_[static_cast<std::size_t>(kind)];
  }
  /// How many faults there were, delays included.
  std::uint64_t faults() const noexcept { return faults_; }
  /// Forgets rules and counters.
  void clear() { *this = FaultPlan(); }

 private:
  struct Rule {
    std::optional<FileOperation> kind;
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    Fault fault;
  };
  struct Chance {
    double probability;
    std::mt19937_64 random;
    Fault fault;
  };

  std::vector<Rule> rules_;
  std::vector<Chance> chances_;
  std::array<std::uint64_t, kFileOperationCount> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t faults_ = 0;
};

}  // namespace platter::test
