#include "formats/qcow2/header_change.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "formats/qcow2/format.h"
#include "formats/qcow2/header_encode.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kMark = sizeof(DiskExtension);

template <class Struct>
Struct load(std::span<const std::byte> bytes, std::uint64_t at) {
  Struct loaded{};
  std::memcpy(&loaded, bytes.data() + at, sizeof loaded);
  return loaded;
}

template <class Struct>
void store(std::span<std::byte> bytes, std::uint64_t at, const Struct& value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Where a header's parts lie in its cluster.
struct Layout {
  std::uint64_t extensions = 0;           // where the first one begins
  std::vector<std::uint64_t> boundaries;  // where each of them ends, the end mark not
  std::uint64_t end = 0;                  // of all that anybody looks at
};

// As the parser reads it, which accepted it before.
Layout layout_of(std::span<const std::byte> cluster) {
  const auto disk = load<DiskHeader>(cluster, 0);
  const std::uint64_t name_at = disk.backing_file_offset;
  const std::uint64_t limit =
      name_at != 0 ? std::min<std::uint64_t>(name_at, cluster.size()) : cluster.size();
  Layout layout;
  layout.extensions = disk.version == 2 ? kVersion2HeaderLength : std::uint32_t{disk.header_length};
  std::uint64_t at = layout.extensions;
  while (in_bounds(at, kMark, limit)) {
    const auto extension = load<DiskExtension>(cluster, at);
    at += kMark;
    if (extension.type == kExtensionEnd) break;
    at = std::min(limit, at + align_up(extension.length, 8));
    layout.boundaries.push_back(at);
  }
  const std::uint64_t name_end = name_at == 0 ? 0 : name_at + disk.backing_file_size;
  layout.end = std::min<std::uint64_t>(cluster.size(), std::max(at, name_end));
  return layout;
}

class Planner {
 public:
  Planner(std::span<const std::byte> now, std::span<const std::byte> target)
      : now_(now.begin(), now.end()),
        target_(target.begin(), target.end()),
        old_(layout_of(now_)),
        new_(layout_of(target_)) {}

  Result<std::vector<HeaderStep>> plan();

 private:
  bool differs(std::uint64_t begin, std::uint64_t end) const {
    return !std::ranges::equal(std::span(now_).subspan(begin, end - begin),
                               std::span(target_).subspan(begin, end - begin));
  }
  void put(std::uint64_t at, std::span<const std::byte> bytes);
  void put_target(std::uint64_t begin, std::uint64_t end);
  Result<void> detour();

  std::vector<std::byte> now_;  // the cluster after the steps
  std::vector<std::byte> target_;
  Layout old_;
  Layout new_;
  std::vector<HeaderStep> steps_;
};

void Planner::put(std::uint64_t at, std::span<const std::byte> bytes) {
  if (std::ranges::equal(bytes, std::span(now_).subspan(at, bytes.size()))) return;
  std::ranges::copy(bytes, now_.begin() + static_cast<std::ptrdiff_t>(at));
  steps_.push_back({.offset = at, .bytes = {bytes.begin(), bytes.end()}});
}

// Only the sectors that differ.
void Planner::put_target(std::uint64_t begin, std::uint64_t end) {
  while (begin < end && !differs(begin, begin + kSectorSize)) begin += kSectorSize;
  while (begin < end && !differs(end - kSectorSize, end)) end -= kSectorSize;
  if (begin < end) put(begin, std::span(target_).subspan(begin, end - begin));
}

Result<std::vector<HeaderStep>> Planner::plan() {
  const std::uint64_t size = now_.size();
  std::uint64_t first = 0;
  std::uint64_t last = size;
  while (first < size && !differs(first, first + kSectorSize)) first += kSectorSize;
  while (last > first && !differs(last - kSectorSize, last)) last -= kSectorSize;
  if (last - first <= kSectorSize) {
    put_target(first, last);
  } else if (old_.end <= std::max(first, kSectorSize)) {
    // Nobody looks behind the first sector, or at what differs, until that one says so.
    put_target(kSectorSize, size);
    put_target(0, kSectorSize);
  } else if (new_.end <= kSectorSize) {
    put_target(0, kSectorSize);
    put_target(kSectorSize, size);
  } else if (Result<void> done = detour(); !done) {
    return fail(std::move(done.error()));
  }
  return std::move(steps_);
}

Result<void> Planner::detour() {
  // Extensions that lie wholly in the first sector, with room for the mark of one more.
  std::uint64_t skip_at = new_.extensions;
  for (const std::uint64_t end : new_.boundaries) {
    if (end + kMark <= kSectorSize) skip_at = end;
  }
  if (skip_at + kMark > kSectorSize) {
    return fail(ErrorKind::unsupported, "the header's fields fill its first sector");
  }
  const std::uint64_t far = align_up(std::max(old_.end, new_.end), kSectorSize);
  const std::uint64_t rest = new_.end - skip_at;
  if (!in_bounds(far, align_up(rest, kSectorSize), now_.size())) {
    return fail(ErrorKind::no_space,
                "the header's cluster has no room to change it in a way that a crash can't tear");
  }
  std::vector<std::byte> moved(align_up(rest, kSectorSize));
  std::copy_n(target_.begin() + static_cast<std::ptrdiff_t>(skip_at), rest, moved.begin());
  std::vector<std::byte> sector(target_.begin(), target_.begin() + kSectorSize);
  store(sector, skip_at,
        DiskExtension{.type = kExtensionFeatureNames,
                      .length = static_cast<std::uint32_t>(far - skip_at - kMark)});
  auto disk = load<DiskHeader>(target_, 0);
  if (disk.backing_file_offset != 0) {
    const be64 name_at = disk.backing_file_offset - skip_at + far;
    store(sector, offsetof(DiskHeader, backing_file_offset), name_at);
  }
  put(far, moved);
  put(0, sector);
  put_target(kSectorSize, far);
  put_target(0, kSectorSize);
  put_target(far, now_.size());
  return {};
}

}  // namespace

Result<std::vector<HeaderStep>> plan_header_change(std::span<const std::byte> cluster,
                                                   const Header& wanted) {
  Result<std::vector<std::byte>> target = encode_header(wanted);
  if (!target) return fail(std::move(target.error()));
  target->resize(cluster.size());
  return Planner(cluster, *target).plan();
}

void apply_steps(std::span<const HeaderStep> steps, std::span<std::byte> cluster) {
  for (const HeaderStep& step : steps) {
    std::ranges::copy(step.bytes, cluster.subspan(step.offset).begin());
  }
}

}  // namespace platter::qcow2
