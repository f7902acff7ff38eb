// Random operations on an image whose disk loses power now and then.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "io/ring.h"
#include "tests/formats/qcow2/crash_judge.h"
#include "tests/formats/qcow2/crash_model.h"
#include "tests/support/crash_file.h"

namespace platter::qcow2::test {

/// A name and the options of an image.
struct CrashSet {
  const char* name;
  const char* options;
  std::uint64_t cluster_size = 64 * kKiB;
  std::uint64_t size = 600 * kKiB;
  bool backing = false;
  bool data_file = false;
  unsigned snapshots_max = 3;

  bool version_2() const { return std::string(options).contains("compat=0.10"); }
};
inline void PrintTo(const CrashSet& set, std::ostream* stream) { *stream << set.name; }

/// One sequence on one image. The states of its disks are taken before each of their flushes, and
/// handed over when nothing is in flight.
class CrashSequence {
 public:
  struct Parts {
    const CrashSet& set;
    Ring& ring;
    Bytes backing;  ///< empty: there is none
    std::uint64_t seed = 0;
    /// Takes a state, and the operation that it is of; false when no more are wanted.
    std::function<bool(CrashState, const std::string&)> take;
  };
  /// Begins with what is on the disks.
  CrashSequence(Parts parts, Recovered start);

  /// Opens, does `count` steps, closes. What fails is a failure of the test.
  void run(int count);

  platter::test::Disk image_disk() const { return file_->live(); }
  platter::test::Disk data_disk() const { return data_ ? data_->live() : platter::test::Disk(); }
  const CrashModel& model() const noexcept { return model_; }

 private:
  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::uint64_t end() const noexcept { return offset + length; }
  };
  enum class Kind : std::uint8_t { write, zeroes_unmap, zeroes_keep, discard, compressed };

  void open();
  void close();
  void step();
  void look_at_some();
  void hand_over();

  void change_one();
  void change_many();
  void flush_now();
  void resize();
  void snapshot();
  void bitmap();
  void save_bitmaps();
  void save();

  Range random_range();
  Kind random_kind();
  Range whole_clusters(Range range) const;
  Task<void> change(Kind kind, Range range);
  Task<void> perform(Kind kind, Range range, Bytes data);
  Task<void> flush();
  void create_snapshot();
  void use_snapshot(bool apply);
  void during_snapshot(CrashModel::Snapshots after, std::shared_ptr<const Bytes> guest,
                       Task<void> task);
  void add_bitmap(BitmapModels& after);
  Task<void> change_bitmap(BitmapModels& after, std::string name);

  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  template <class Map>
  std::string any_name(const Map& map) {
    return std::next(map.begin(), static_cast<std::ptrdiff_t>(below(map.size())))->first;
  }
  void must(Task<void> task);
  std::uint64_t size() const noexcept { return model_.guest.live().size(); }

  Parts p_;
  std::mt19937_64 random_;
  CrashModel model_;
  std::unique_ptr<platter::test::CrashFile> file_;
  std::unique_ptr<platter::test::CrashFile> data_;
  std::unique_ptr<Qcow2Image> image_;
  std::string kind_ = "open";  // of the operation in progress
  std::string what_ = "open";
  bool compresses_beside_others_ = false;
  bool wanted_ = true;
  unsigned names_ = 0;
  std::vector<std::pair<CrashState, std::string>> states_;
};

}  // namespace platter::qcow2::test
