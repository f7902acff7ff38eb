#include "formats/qcow2/bitmap_header.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "formats/qcow2/format.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kAutoclearAt = offsetof(DiskHeader, autoclear_features);
constexpr std::uint64_t kBackingAt = offsetof(DiskHeader, backing_file_offset);
constexpr std::uint64_t kMark = sizeof(DiskExtension);  // the end mark, or an extension's begin
constexpr std::uint64_t kExtension = kMark + sizeof(DiskBitmapsExtension);

template <class Struct>
std::span<const std::byte> bytes_of(const Struct& value) {
  return std::as_bytes(std::span(&value, 1));
}

class Planner {
 public:
  explicit Planner(std::span<const std::byte> cluster) : now_(cluster.begin(), cluster.end()) {}

  Result<std::vector<HeaderStep>> plan(const std::optional<BitmapsExtension>& wanted) {
    if (load<DiskHeader>(0).version < 3) {
      return fail(ErrorKind::unsupported, "Cannot store dirty bitmaps in qcow2 v2 files");
    }
    if (Result<void> read = find_extensions(); !read) return fail(std::move(read.error()));
    if (!wanted) {
      set_bit(false);
      while (found_) {
        remove();
        if (Result<void> read = find_extensions(); !read) return fail(std::move(read.error()));
      }
      return std::move(steps_);
    }
    const DiskBitmapsExtension data{.nb_bitmaps = wanted->count,
                                    .reserved = 0,
                                    .bitmap_directory_size = wanted->directory_size,
                                    .bitmap_directory_offset = wanted->directory_offset};
    if (found_) {
      change(data);
    } else if (Result<void> added = add(data); !added) {
      return fail(std::move(added.error()));
    }
    set_bit(true);
    return std::move(steps_);
  }

 private:
  Result<void> find_extensions();
  void change(const DiskBitmapsExtension& data);
  Result<void> add(const DiskBitmapsExtension& data);
  Result<void> move_name(std::uint64_t behind);
  void remove();
  void set_bit(bool on);

  template <class Struct>
  Struct load(std::uint64_t at) const {
    Struct loaded{};
    std::memcpy(&loaded, now_.data() + at, sizeof loaded);
    return loaded;
  }
  void put(std::uint64_t at, std::span<const std::byte> bytes);

  std::vector<std::byte> now_;  // the cluster after the steps
  std::vector<HeaderStep> steps_;
  std::optional<std::uint64_t> found_;  // where the extension begins
  std::uint64_t end_ = 0;               // where the end mark is
};

// One step. Two in a row that change the same sector alone are one: a sector is written whole.
void Planner::put(std::uint64_t at, std::span<const std::byte> bytes) {
  if (std::ranges::equal(bytes, std::span(now_).subspan(at, bytes.size()))) return;
  std::ranges::copy(bytes, now_.begin() + static_cast<std::ptrdiff_t>(at));
  const std::uint64_t begin = align_down(at, kSectorSize);
  const std::uint64_t end = align_up(at + bytes.size(), kSectorSize);
  const auto first = now_.begin() + static_cast<std::ptrdiff_t>(begin);
  HeaderStep step{.offset = begin,
                  .bytes = {first, first + static_cast<std::ptrdiff_t>(end - begin)}};
  const bool same_sector = !steps_.empty() && step.bytes.size() == kSectorSize &&
                           steps_.back().offset == begin &&
                           steps_.back().bytes.size() == kSectorSize;
  if (same_sector) steps_.pop_back();
  steps_.push_back(std::move(step));
}

Result<void> Planner::find_extensions() {
  found_.reset();
  const auto header = load<DiskHeader>(0);
  const std::uint64_t name_at = header.backing_file_offset;
  const std::uint64_t limit =
      name_at != 0 ? std::min<std::uint64_t>(name_at, now_.size()) : now_.size();
  if (!is_aligned(header.header_length, 8)) {
    return fail(ErrorKind::unsupported, "the header's length is no multiple of 8");
  }
  for (std::uint64_t at = header.header_length; in_bounds(at, kMark, limit);) {
    const auto extension = load<DiskExtension>(at);
    if (extension.type == kExtensionEnd) {
      end_ = at;
      return {};
    }
    if (extension.type == kExtensionBitmaps) found_ = at;
    const std::uint64_t next = at + kMark + align_up(extension.length, 8);
    if (extension.type == kExtensionBitmaps && next != at + kExtension) {
      return fail(ErrorKind::corrupt_image, "bitmaps_ext: Invalid extension length");
    }
    at = next;
  }
  return fail(ErrorKind::unsupported, "the header's extensions have no end mark");
}

void Planner::set_bit(bool on) {
  constexpr std::uint64_t kBit = std::uint64_t{1} << kBitmapsBit;
  const std::uint64_t before = load<be64>(kAutoclearAt);
  const be64 after = on ? before | kBit : before & ~kBit;
  put(kAutoclearAt, bytes_of(after));
}

void Planner::change(const DiskBitmapsExtension& data) {
  const std::uint64_t at = *found_ + kMark;
  if (std::ranges::equal(bytes_of(data), std::span(now_).subspan(at, sizeof data))) return;
  const bool one_sector = at / kSectorSize == (at + sizeof data - 1) / kSectorSize;
  if (!one_sector) set_bit(false);
  put(at, bytes_of(data));
}

// Behind all others: what follows on the end mark is looked at by nobody.
Result<void> Planner::add(const DiskBitmapsExtension& data) {
  const std::uint64_t end = end_;
  if (Result<void> moved = move_name(end + kExtension + kMark); !moved) return moved;
  std::vector<std::byte> rest(sizeof data + kMark);  // with the new end mark
  std::memcpy(rest.data(), &data, sizeof data);
  put(end + kMark, rest);
  const DiskExtension mark{.type = kExtensionBitmaps, .length = sizeof data};
  put(end, bytes_of(mark));
  return {};
}

// The backing file's name follows on the extensions, and makes room for them: it is written at its
// new place before the header's first sector names that.
Result<void> Planner::move_name(std::uint64_t behind) {
  const auto no_room = [] {
    return fail(ErrorKind::no_space, "the header's cluster has no room for the bitmaps extension");
  };
  const auto header = load<DiskHeader>(0);
  const std::uint64_t at = header.backing_file_offset;
  if (behind > now_.size()) return no_room();
  if (at == 0 || at >= behind) return {};
  const std::uint64_t size = header.backing_file_size;
  if (!in_bounds(at, size, now_.size())) {
    return fail(ErrorKind::corrupt_image, "Could not read backing file name");
  }
  const std::vector<std::byte> name(now_.begin() + static_cast<std::ptrdiff_t>(at),
                                    now_.begin() + static_cast<std::ptrdiff_t>(at + size));
  // Within the first sector all of it changes at once.
  const bool at_once = std::max(at, behind) + size <= kSectorSize;
  const std::uint64_t to = align_up(at_once ? behind : std::max(behind, at + size), 8);
  if (!in_bounds(to, size, now_.size())) return no_room();
  put(to, name);
  const be64 place = to;
  put(kBackingAt, bytes_of(place));
  return {};
}

// The bit is clear: nobody looks at the extension's contents.
void Planner::remove() {
  const std::uint64_t at = *found_;
  const std::uint64_t old_end = end_ + kMark;
  const std::vector<std::byte> tail(now_.begin() + static_cast<std::ptrdiff_t>(at + kExtension),
                                    now_.begin() + static_cast<std::ptrdiff_t>(old_end));
  put(at, bytes_of(DiskExtension{}));
  std::vector<std::byte> rest(old_end - at - kMark);  // what follows, then zeroes
  std::copy(tail.begin() + kMark, tail.end(), rest.begin());
  put(at + kMark, rest);
  put(at, std::span(tail).first(kMark));
}

}  // namespace

Result<std::vector<HeaderStep>> plan_bitmaps_extension(
    std::span<const std::byte> cluster, const std::optional<BitmapsExtension>& wanted) {
  return Planner(cluster).plan(wanted);
}

}  // namespace platter::qcow2
