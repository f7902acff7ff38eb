// Judges what a disk holds after it has lost power.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>

#include "io/ring.h"
#include "tests/formats/qcow2/crash_model.h"
#include "tests/support/crash_plan.h"
#include "tests/support/disk.h"

namespace platter::qcow2::test {

/// An image's disk, its external data file's, and what may be seen of them.
struct CrashState {
  platter::test::Disk image;
  platter::test::Disk data;
  std::string what;  ///< for messages: how it came about
  std::shared_ptr<const CrashModel> model;
  std::uint64_t seed = 0;  ///< for what is done with it afterwards
};

/// An image that was repaired, and what it shows.
struct Recovered {
  platter::test::Disk image;
  platter::test::Disk data;
  Seen seen;
};

/// Every finding is a failure of the test.
class CrashJudge {
 public:
  struct Parts {
    Ring& ring;
    std::string path;       ///< where qemu-img looks at it
    std::string data_path;  ///< where it looks for the data file; empty: there is none
    Bytes backing;          ///< of a raw backing file; empty: there is none
  };
  explicit CrashJudge(Parts parts) : p_(std::move(parts)) {}

  /// False for a state that was judged before. REQUIRES: the ring is idle.
  bool judge(const CrashState& state);
  /// What an image shows that is as it should be.
  Seen see(const platter::test::Disk& image, const platter::test::Disk& data,
           const std::string& what);

  std::uint64_t repaired() const noexcept { return repaired_; }
  std::uint64_t grown() const noexcept { return grown_; }
  /// The latest one, if there was any.
  std::optional<Recovered> take_recovered() { return std::exchange(recovered_, std::nullopt); }

 private:
  struct Grown;
  bool judge_once(const CrashState& state);
  void keep(const CrashState& state) const;
  void put(const platter::test::Disk& image, const platter::test::Disk& data);
  bool qemu_check(bool repair, const std::string& what);
  bool has_bitmaps_extension(const platter::test::Disk& image);
  void repair(Recovered& recovered, const std::string& what);
  void grow(const Recovered& recovered, std::uint64_t seed, const std::string& what);
  Task<void> grow_on(const Recovered& recovered, std::uint64_t seed, Grown& grown);
  Task<Seen> see_on(platter::test::Disk image, platter::test::Disk data);
  std::unique_ptr<File> data_file(platter::test::Disk data) const;

  Parts p_;
  std::unordered_set<std::size_t> judged_;
  std::uint64_t repaired_ = 0;
  std::uint64_t grown_ = 0;
  std::optional<Recovered> recovered_;
};

}  // namespace platter::qcow2::test
