// What may be seen of an image after its disk has lost power.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/formats/qcow2/bitmap_tools.h"

namespace platter::qcow2::test {

/// All that an image shows.
struct Seen {
  Bytes active;
  std::map<std::string, Bytes> snapshots;  // by name
  BitmapModels bitmaps;
  bool operator==(const Seen&) const = default;
};

/// What the guest may find on its disk: each sector as the last flush left it, or as any change
/// since then made it; and a size that goes with it. Changes that are in flight together never
/// touch the same sector.
class GuestModel {
 public:
  explicit GuestModel(Bytes bytes = {}) : durable_(bytes), live_(std::move(bytes)) {}

  /// Once all changes have ended.
  const Bytes& live() const noexcept { return live_; }

  /// A change is about to be asked for. Returns its number.
  std::uint64_t begin(std::uint64_t offset, Bytes data);
  std::uint64_t begin_resize(std::uint64_t size);
  /// It has returned.
  void ended(std::uint64_t number);
  /// What a flush that is called now makes durable, and that it has returned.
  std::vector<std::uint64_t> ended_changes() const;
  void flushed(const std::vector<std::uint64_t>& numbers);
  /// Everything else is history.
  void reset(Bytes bytes) { *this = GuestModel(std::move(bytes)); }

  /// Why that can't be; empty if it can.
  std::string impossible(const Bytes& seen) const;

 private:
  struct Change {
    std::uint64_t offset = 0;
    Bytes data;
    std::optional<std::uint64_t> new_size;
    bool ended = false;
  };
  // Never changed where it says what a sector is: copies of the model share it.
  using Changes = std::map<std::uint64_t, std::shared_ptr<Change>>;

  bool sector_known(const Bytes& seen, std::size_t at, std::uint64_t newest_size) const;

  Bytes durable_;
  Bytes live_;
  Changes changes_;
  std::uint64_t next_ = 1;
};

/// What may be found of bitmaps. Their operations happen in memory: on disk is what was saved last,
/// or anything since.
class BitmapsModel {
 public:
  /// As they are now.
  const BitmapModels& now() const noexcept { return now_; }

  /// All that is known is durable.
  void reset(BitmapModels models, Bytes contents);
  /// An operation, or a save, is about to make them what they are: `contents` is what the guest
  /// sees then.
  void change(BitmapModels after, const Bytes& contents, bool resizes = false);
  /// The guest is about to change that.
  void record(std::uint64_t offset, std::uint64_t length);
  /// All operations so far are on the disk.
  void settled();

  /// Why that can't be; empty if it can. `contents` is what the guest sees after the crash.
  std::string impossible(const BitmapModels& seen, const Bytes& contents) const;

  /// The directory may be missing while it is replaced.
  void may_vanish(bool may) noexcept { may_vanish_ = may; }

 private:
  struct Version {
    BitmapModels bitmaps;
    BitmapModels most;  // with all that was recorded since
    std::shared_ptr<const Bytes> contents;
    bool written = false;
    bool resized = false;
  };
  std::string impossible(const std::string& name, const BitmapModel& seen,
                         const Bytes& contents) const;
  static std::string impossible(const Version& version, const std::string& name,
                                const BitmapModel& seen, const Bytes& contents);

  std::vector<Version> versions_ = std::vector<Version>(1);  // the first is durable
  BitmapModels now_;
  bool may_vanish_ = false;
};

/// All of it.
struct CrashModel {
  using Snapshots = std::map<std::string, std::shared_ptr<const Bytes>>;

  GuestModel guest;
  BitmapsModel bitmaps;
  Snapshots snapshots;
  /// While an operation on snapshots runs: what they are after it, and what the guest sees then if
  /// that changes.
  std::optional<Snapshots> snapshots_after;
  std::shared_ptr<const Bytes> guest_after;

  std::string impossible(const Seen& seen) const;
};

}  // namespace platter::qcow2::test
