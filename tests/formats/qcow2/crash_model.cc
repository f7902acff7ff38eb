#include "tests/formats/qcow2/crash_model.h"

#include <algorithm>
#include <cstring>

namespace platter::qcow2::test {
namespace {

bool same(const std::byte* one, const std::byte* other, std::size_t length) {
  return std::memcmp(one, other, length) == 0;
}

// The first sector from `at` on in which they differ, or the end of the shorter one.
std::size_t next_difference(const Bytes& one, const Bytes& other, std::size_t at) {
  constexpr std::size_t kStep = 64 * kKiB;
  const std::size_t end = std::min(one.size(), other.size());
  while (at < end) {
    const std::size_t step = std::min(kStep - at % kStep, end - at);
    if (!same(one.data() + at, other.data() + at, step)) break;
    at += step;
  }
  while (at < end && same(one.data() + at, other.data() + at, std::min(kSectorSize, end - at))) {
    at += kSectorSize;
  }
  return std::min(at, end);
}

void put(Bytes& bytes, std::uint64_t offset, const Bytes& data) {
  if (data.empty() || offset >= bytes.size()) return;
  const std::size_t count = std::min<std::uint64_t>(data.size(), bytes.size() - offset);
  std::memcpy(bytes.data() + offset, data.data(), count);
}

}  // namespace

// --- the guest's disk

std::uint64_t GuestModel::begin(std::uint64_t offset, Bytes data) {
  put(live_, offset, data);
  changes_.emplace(next_,
                   std::make_shared<Change>(Change{
                       .offset = offset, .data = std::move(data), .new_size = {}, .ended = false}));
  return next_++;
}

std::uint64_t GuestModel::begin_resize(std::uint64_t size) {
  const auto [low, high] = std::minmax({size, std::uint64_t{live_.size()}});
  changes_.emplace(
      next_, std::make_shared<Change>(Change{
                 .offset = low, .data = Bytes(high - low), .new_size = size, .ended = false}));
  live_.resize(size);
  return next_++;
}

void GuestModel::ended(std::uint64_t number) {
  auto& change = changes_.at(number);
  change = std::make_shared<Change>(*change);
  change->ended = true;
}

std::vector<std::uint64_t> GuestModel::ended_changes() const {
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, change] : changes_) {
    if (change->ended) numbers.push_back(number);
  }
  return numbers;
}

void GuestModel::flushed(const std::vector<std::uint64_t>& numbers) {
  for (const std::uint64_t number : numbers) {
    const auto found = changes_.find(number);
    if (found == changes_.end()) continue;  // another flush was faster
    const Change& change = *found->second;
    if (change.new_size) durable_.resize(*change.new_size);
    put(durable_, change.offset, change.data);
    changes_.erase(found);
  }
}

std::string GuestModel::impossible(const Bytes& seen) const {
  // Sizes that came later than the one on disk have not happened, nor what they cut off.
  std::uint64_t newest_size = 0;
  bool known = seen.size() == durable_.size();
  for (const auto& [number, change] : changes_) {
    if (change->new_size != seen.size()) continue;
    known = true;
    newest_size = number;
  }
  if (!known) return "size " + std::to_string(seen.size());
  std::size_t at = 0;
  while (true) {
    if (at < durable_.size()) at = next_difference(durable_, seen, at);
    if (at >= seen.size()) return {};
    if (!sector_known(seen, at, newest_size)) {
      return "the sector at offset " + std::to_string(at);
    }
    at += kSectorSize;
  }
}

bool GuestModel::sector_known(const Bytes& seen, std::size_t at, std::uint64_t newest_size) const {
  return std::ranges::any_of(changes_, [&](const auto& entry) {
    const auto& [number, change] = entry;
    if (change->new_size && number > newest_size) return false;
    return at >= change->offset && at - change->offset < change->data.size() &&
           same(seen.data() + at, change->data.data() + (at - change->offset), kSectorSize);
  });
}

// --- bitmaps

void BitmapsModel::reset(BitmapModels models, Bytes contents) {
  versions_.clear();
  now_ = models;
  versions_.push_back({.bitmaps = now_,
                       .most = now_,
                       .contents = std::make_shared<const Bytes>(std::move(contents))});
}

void BitmapsModel::change(BitmapModels after, const Bytes& contents, bool resizes) {
  now_ = std::move(after);
  if (resizes) {
    for (Version& version : versions_) version.resized = true;
  }
  versions_.push_back({.bitmaps = now_,
                       .most = now_,
                       .contents = std::make_shared<const Bytes>(contents),
                       .resized = resizes});
}

void BitmapsModel::record(std::uint64_t offset, std::uint64_t length) {
  const auto mark = [&](BitmapModels& models) {
    for (auto& [name, model] : models) {
      if (model.enabled && !model.inconsistent) model.mark(offset, length);
    }
  };
  mark(now_);
  for (Version& version : versions_) {
    version.written = true;
    // What the disk had lost when this was saved is not recorded there, however large it is now.
    for (auto& [name, model] : version.most) {
      if (!model.enabled || model.inconsistent) continue;
      const std::uint64_t end = model.bits.size() * model.granularity;
      if (offset < end) model.mark(offset, std::min(length, end - offset));
    }
  }
}

void BitmapsModel::settled() { versions_.erase(versions_.begin(), versions_.end() - 1); }

std::string BitmapsModel::impossible(const BitmapModels& seen, const Bytes& contents) const {
  const auto names_match = [&](const Version& version) {
    return std::ranges::equal(
        version.bitmaps, seen, {}, [](const auto& entry) { return entry.first; },
        [](const auto& entry) { return entry.first; });
  };
  const bool vanished = seen.empty() && may_vanish_ && versions_.size() > 1;
  if (!vanished && std::ranges::none_of(versions_, names_match)) {
    return "which bitmaps there are:" + describe(seen);
  }
  for (const auto& [name, model] : seen) {
    std::string wrong = impossible(name, model, contents);
    if (!wrong.empty()) return "bitmap " + name + ": " + wrong + ":" + describe(seen);
  }
  return {};
}

std::string BitmapsModel::impossible(const std::string& name, const BitmapModel& seen,
                                     const Bytes& contents) const {
  std::string wrong;
  for (const Version& version : versions_) {
    const std::string why = impossible(version, name, seen, contents);
    if (why.empty()) return {};
    wrong += (wrong.empty() ? "" : "; ") + why;
  }
  return wrong;
}

std::string BitmapsModel::impossible(const Version& version, const std::string& name,
                                     const BitmapModel& seen, const Bytes& contents) {
  const auto found = version.bitmaps.find(name);
  if (found == version.bitmaps.end()) return "not there";
  const BitmapModel& model = found->second;
  if (seen.granularity != model.granularity) return "granularity";
  if (seen.inconsistent) {
    const bool in_use = model.inconsistent || version.resized || (version.written && model.enabled);
    return in_use ? "" : "in use";
  }
  if (model.inconsistent) return "consistent again";
  if (seen.enabled != model.enabled) return "enabled";
  if (seen.bits.size() != model.bits.size()) return "size";
  const BitmapModel& most = version.most.at(name);
  for (std::size_t i = 0; i < seen.bits.size(); ++i) {
    if (model.bits[i] && !seen.bits[i]) return "not dirty at bit " + std::to_string(i);
    if (seen.bits[i] && !most.bits[i]) return "dirty at bit " + std::to_string(i);
  }
  if (!model.enabled) return {};
  const Bytes& before = *version.contents;
  const std::size_t end = std::min(before.size(), contents.size());
  for (std::size_t at = next_difference(before, contents, 0); at < end;
       at = next_difference(before, contents, at + kSectorSize)) {
    if (!seen.covers(at)) return "a change at offset " + std::to_string(at) + " is not recorded";
  }
  return {};
}

// --- all of it

std::string CrashModel::impossible(const Seen& seen) const {
  const auto are = [&](const Snapshots& those) {
    return std::ranges::equal(those, seen.snapshots, [](const auto& one, const auto& other) {
      return one.first == other.first && *one.second == other.second;
    });
  };
  const bool before = are(snapshots);
  const bool after = snapshots_after && are(*snapshots_after);
  if (!before && !after) {
    std::string names;
    for (const auto& [name, bytes] : seen.snapshots) names += " " + name;
    return "snapshots:" + names;
  }
  std::string wrong = guest.impossible(seen.active);
  if (!wrong.empty() && after && guest_after && seen.active == *guest_after) wrong.clear();
  if (!wrong.empty()) return wrong;
  return bitmaps.impossible(seen.bitmaps, seen.active);
}

}  // namespace platter::qcow2::test
