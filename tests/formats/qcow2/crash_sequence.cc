#include "tests/formats/qcow2/crash_sequence.h"

#include <algorithm>
#include <utility>

#include <gtest/gtest.h>

#include "io/task_group.h"
#include "tests/formats/qcow2/open_on.h"
#include "tests/support/random_ops.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2::test {

using platter::test::CrashFile;
using platter::test::CrashPlan;

namespace {

std::string text_of(std::uint64_t offset, std::uint64_t length) {
  return std::to_string(offset) + "+" + std::to_string(length);
}

}  // namespace

CrashSequence::CrashSequence(Parts parts, Recovered start)
    : p_(std::move(parts)), random_(p_.seed) {
  const auto disk = [&](platter::test::Disk contents, const char* name) {
    auto file = std::make_unique<CrashFile>(
        std::move(contents),
        platter::test::CrashFileOptions{
            .name = name, .yields_max = 3, .seed = random_(), .discarded = std::byte{0xd5}});
    file->before_flush([this] { look_at_some(); });
    return file;
  };
  file_ = disk(std::move(start.image), "image");
  if (p_.set.data_file) data_ = disk(std::move(start.data), "data");
  for (auto& [name, bytes] : start.seen.snapshots) {
    model_.snapshots.emplace(name, std::make_shared<const Bytes>(std::move(bytes)));
  }
  model_.bitmaps.reset(std::move(start.seen.bitmaps), start.seen.active);
  // Its extension may lie behind the header's first sector.
  model_.bitmaps.may_vanish(p_.set.backing || p_.set.data_file);
  model_.guest.reset(std::move(start.seen.active));
  // The order in which workers are done with compressing is not the same each time.
  compresses_beside_others_ = below(4) == 0;
  names_ = static_cast<unsigned>(below(1'000'000));
}

void CrashSequence::must(Task<void> task) {
  const Result<void> done = p_.ring.run(std::move(task));
  EXPECT_TRUE(done) << what_ << ": " << done.error().message();
}

void CrashSequence::open() {
  kind_ = what_ = "open";
  std::unique_ptr<File> data;
  if (data_) data = std::make_unique<platter::test::SharedFile>(*data_);
  auto image = p_.ring.run(open_on(std::make_unique<platter::test::SharedFile>(*file_),
                                   std::move(data), p_.backing, /*writable=*/true));
  ASSERT_TRUE(image) << image.error().message();
  image_ = std::move(*image);
}

// Flushes, and saves.
void CrashSequence::close() {
  kind_ = what_ = "close";
  const Bytes contents = model_.guest.live();
  model_.bitmaps.change(model_.bitmaps.now(), contents);
  must(image_->close());
  image_.reset();
  model_.guest.reset(contents);
  model_.bitmaps.settled();
  hand_over();
}

void CrashSequence::run(int count) {
  open();
  for (int i = 0; i < count && wanted_ && !testing::Test::HasFailure(); ++i) {
    step();
    hand_over();
    if (i % 10 == 9) {
      look_at_some();
      hand_over();
    }
    if (below(40) != 0 || testing::Test::HasFailure()) continue;
    close();
    if (!testing::Test::HasFailure()) open();
  }
  if (image_) close();
}

void CrashSequence::look_at_some() {
  if (testing::Test::HasFailure() || !wanted_) return;
  const auto model = std::make_shared<const CrashModel>(model_);
  const std::vector<CrashPlan> plans = file_->systematic_plans();
  const std::uint64_t count = 1 + below(3);
  for (std::uint64_t i = 0; i < count; ++i) {
    const bool random = below(2) == 0 || plans.empty();
    const CrashPlan plan = random ? CrashPlan::random(random_()) : plans[below(plans.size())];
    const CrashPlan data_plan = data_ ? CrashPlan::random(random_()) : plan;
    CrashState state{.image = file_->crash_state(plan),
                     .data = platter::test::Disk(),
                     .what = to_string(plan) + " " + what_,
                     .model = model,
                     .seed = random_()};
    if (data_) state.data = data_->crash_state(data_plan);
    states_.emplace_back(std::move(state), kind_);
  }
}

void CrashSequence::hand_over() {
  for (auto& [state, kind] : std::exchange(states_, {})) {
    if (testing::Test::HasFailure() || !wanted_) return;
    wanted_ = p_.take(std::move(state), kind);
  }
}

void CrashSequence::step() {
  switch (below(16)) {
    case 0:
    case 1: return flush_now();
    case 2:
    case 3: return resize();
    case 4:
    case 5: return snapshot();
    case 6:
    case 7: return bitmap();
    case 8: return save_bitmaps();
    case 9:
    case 10:
    case 11: return change_many();
    default: change_one();
  }
}

// --- what the guest does

CrashSequence::Range CrashSequence::random_range() {
  const std::uint64_t cluster = p_.set.cluster_size;
  Range range{.offset = align_down(below(size()), below(2) == 0 ? cluster : kSectorSize)};
  range.length =
      align_down(below(below(3) == 0 ? 4 * cluster : cluster), kSectorSize) + kSectorSize;
  range.length = std::min(range.length, size() - range.offset);
  return range;
}

CrashSequence::Kind CrashSequence::random_kind() {
  constexpr Kind kKinds[] = {Kind::write,   Kind::write,        Kind::write,
                             Kind::write,   Kind::zeroes_unmap, Kind::zeroes_keep,
                             Kind::discard, Kind::compressed};
  const Kind kind = kKinds[below(std::size(kKinds))];
  return kind == Kind::compressed && data_ ? Kind::write : kind;
}

// The image's end ends its last cluster, too.
CrashSequence::Range CrashSequence::whole_clusters(Range range) const {
  const std::uint64_t cluster = p_.set.cluster_size;
  const std::uint64_t begin = align_up(range.offset, cluster);
  const std::uint64_t end = range.end() == size() ? size() : align_down(range.end(), cluster);
  return {.offset = begin, .length = end - std::min(begin, end)};
}

// What the guest then sees is known before it is done.
Task<void> CrashSequence::change(Kind kind, Range range) {
  Range changed = range;
  Bytes data(range.length);
  if (kind == Kind::compressed) {
    std::ranges::fill(data, static_cast<std::byte>(random_()));
    platter::test::fill_random(std::span(data).first(data.size() / 3), random_());
  } else if (kind == Kind::write) {
    platter::test::fill_random(data, random_());
  } else if (kind == Kind::discard) {
    // Version 2 can't say "zeroes" where the backing file has something else.
    changed = whole_clusters(range);
    if (p_.set.version_2() && p_.set.backing) changed.length = 0;
  }
  model_.bitmaps.record(range.offset, range.length);
  const std::uint64_t number = model_.guest.begin(
      changed.offset,
      Bytes(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(changed.length)));
  co_await perform(kind, range, std::move(data));
  model_.guest.ended(number);
  model_.bitmaps.settled();
}

Task<void> CrashSequence::perform(Kind kind, Range range, Bytes data) {
  switch (kind) {
    case Kind::write: co_await image_->write(range.offset, data); break;
    case Kind::zeroes_unmap:
      co_await image_->write_zeroes(range.offset, range.length, ZeroMode::may_unmap);
      break;
    case Kind::zeroes_keep:
      co_await image_->write_zeroes(range.offset, range.length, ZeroMode::keep_allocated);
      break;
    case Kind::discard: co_await image_->discard(range.offset, range.length); break;
    case Kind::compressed: co_await image_->write_compressed(range.offset, data); break;
  }
}

void CrashSequence::change_one() {
  constexpr const char* kNames[] = {"write", "zeroes", "zeroes", "discard", "compressed"};
  const Kind kind = random_kind();
  Range range = random_range();
  if (kind == Kind::compressed) {
    range.offset = align_down(range.offset, p_.set.cluster_size);
    range.length = std::min(p_.set.cluster_size * (1 + below(3)), size() - range.offset);
  }
  kind_ = kNames[static_cast<std::size_t>(kind)];
  what_ = kind_ + " " + text_of(range.offset, range.length);
  must(change(kind, range));
}

// What had returned when it is called is durable when it returns.
Task<void> CrashSequence::flush() {
  const std::vector<std::uint64_t> numbers = model_.guest.ended_changes();
  co_await image_->flush();
  model_.guest.flushed(numbers);
}

void CrashSequence::flush_now() {
  kind_ = what_ = "flush";
  must(flush());
}

// Several changes at once, side by side, and flushes between them.
void CrashSequence::change_many() {
  kind_ = what_ = "batch";
  const std::uint64_t cluster = p_.set.cluster_size;
  std::vector<std::pair<Kind, Range>> changes;
  std::uint64_t at = align_down(below(size()), below(2) == 0 ? cluster : kSectorSize);
  const std::uint64_t end = std::min(size(), at + 6 * cluster);
  while (at < end) {
    Kind kind = random_kind();
    if (kind == Kind::compressed && !(compresses_beside_others_ && is_aligned(at, cluster))) {
      kind = Kind::write;
    }
    const std::uint64_t longest = kind == Kind::discard ? 2 * cluster : cluster / 2 + kSectorSize;
    std::uint64_t length = kSectorSize * (1 + below(longest / kSectorSize));
    if (kind == Kind::compressed) length = cluster;
    if (below(3) == 0) length = align_up(at + length, cluster) - at;
    length = std::min(length, size() - at);
    changes.emplace_back(kind, Range{.offset = at, .length = length});
    at += length;
  }
  std::ranges::shuffle(changes, random_);
  const std::size_t every = 1 + below(4);
  auto body = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t i = 0; i < changes.size(); ++i) {
      co_await group.spawn(change(changes[i].first, changes[i].second));
      if (i % every == every / 2) co_await group.spawn(flush());
    }
  };
  must(with_group(64, body));
}

void CrashSequence::resize() {
  if (p_.set.version_2() && !model_.snapshots.empty()) return change_one();
  const std::uint64_t wanted = kSectorSize + align_down(below(2 * p_.set.size), kSectorSize);
  const auto inconsistent = [](const auto& entry) { return entry.second.inconsistent; };
  if (wanted == size() || std::ranges::any_of(model_.bitmaps.now(), inconsistent)) {
    return change_one();
  }
  constexpr Preallocation kModes[] = {Preallocation::off, Preallocation::off,
                                      Preallocation::metadata, Preallocation::full};
  const auto mode = wanted > size() ? kModes[below(4)] : Preallocation::off;
  kind_ = wanted > size() ? "grow" : "shrink";
  what_ = kind_ + " " + std::to_string(size()) + " to " + std::to_string(wanted);
  const std::uint64_t number = model_.guest.begin_resize(wanted);
  BitmapModels bitmaps = model_.bitmaps.now();
  for (auto& [name, model] : bitmaps) model.resize(wanted);
  model_.bitmaps.change(std::move(bitmaps), model_.guest.live(), /*resizes=*/true);
  must(image_->resize(wanted, {.preallocation = mode}));
  model_.guest.ended(number);
  model_.bitmaps.settled();
}

// --- snapshots

void CrashSequence::snapshot() {
  if (p_.set.snapshots_max == 0) return change_one();
  const bool none = model_.snapshots.empty();
  const bool full = model_.snapshots.size() >= p_.set.snapshots_max;
  if (none || (!full && below(2) == 0)) return create_snapshot();
  const bool apply = below(2) == 0 && model_.bitmaps.now().empty();
  if (apply || full || below(2) == 0) return use_snapshot(apply);
  create_snapshot();
}

void CrashSequence::create_snapshot() {
  const std::string name = "s" + std::to_string(names_++);
  kind_ = "snapshot create";
  what_ = kind_ + " " + name;
  CrashModel::Snapshots after = model_.snapshots;
  const auto contents = std::make_shared<const Bytes>(model_.guest.live());
  after[name] = contents;
  during_snapshot(std::move(after), contents,
                  image_->create_snapshot({.name = name, .date_sec = 1'700'000'000}));
}

void CrashSequence::use_snapshot(bool apply) {
  const std::string name = any_name(model_.snapshots);
  kind_ = apply ? "snapshot apply" : "snapshot delete";
  what_ = kind_ + " " + name;
  CrashModel::Snapshots after = model_.snapshots;
  if (apply) {
    during_snapshot(std::move(after), model_.snapshots[name],
                    image_->apply_snapshot(SnapshotKey::by_name(name)));
    if (!testing::Test::HasFailure()) {
      model_.bitmaps.reset(model_.bitmaps.now(), model_.guest.live());
    }
    return;
  }
  after.erase(name);
  during_snapshot(std::move(after), std::make_shared<const Bytes>(model_.guest.live()),
                  image_->delete_snapshot(SnapshotKey::by_name(name)));
}

// All of it is durable when it returns.
void CrashSequence::during_snapshot(CrashModel::Snapshots after, std::shared_ptr<const Bytes> guest,
                                    Task<void> task) {
  model_.snapshots_after = std::move(after);
  model_.guest_after = std::move(guest);
  must(std::move(task));
  model_.snapshots = *std::exchange(model_.snapshots_after, std::nullopt);
  model_.guest.reset(*std::exchange(model_.guest_after, nullptr));
}

// --- bitmaps

void CrashSequence::bitmap() {
  if (p_.set.version_2()) return change_one();
  BitmapModels after = model_.bitmaps.now();
  const bool add = after.empty() ? below(3) == 0 : after.size() < 4 && below(3) == 0;
  if (!add && after.empty()) return snapshot();
  if (add) {
    add_bitmap(after);
  } else {
    Task<void> operation = change_bitmap(after, any_name(after));
    model_.bitmaps.change(after, model_.guest.live());
    must(std::move(operation));
  }
  if (below(2) == 0) return;
  save();
  if (below(2) == 0) return;
  // The first change after it must not overtake the mark that they are in use.
  change_one();
  look_at_some();
}

void CrashSequence::add_bitmap(BitmapModels& after) {
  const std::string name = "b" + std::to_string(names_++);
  const std::uint64_t granularity = std::uint64_t{512} << below(9);
  const bool enabled = below(4) != 0;
  kind_ = "bitmap add";
  what_ = kind_ + " " + name;
  after[name] = {.granularity = granularity, .enabled = enabled};
  after[name].resize(size());
  model_.bitmaps.change(after, model_.guest.live());
  must(image_->bitmaps()->add({.name = name, .granularity = granularity, .enabled = enabled}));
}

// Changes the model, and says how to change the bitmap. An inconsistent one can only go.
Task<void> CrashSequence::change_bitmap(BitmapModels& after, std::string name) {
  BitmapModel& model = after[name];
  const std::uint64_t choice = model.inconsistent ? 0 : below(6);
  const std::string other = any_name(after);
  const auto call = [&](const char* kind) {
    kind_ = kind;
    what_ = kind_ + " " + name;
  };
  switch (choice) {
    case 0: {
      call("bitmap remove");
      after.erase(name);
      return image_->bitmaps()->remove(name);
    }
    case 1:
      if (!after[other].inconsistent) {
        call("bitmap merge");
        model.merge(BitmapModel(after[other]));
        return BitmapRig::merge_within(*image_, name, other);
      }
      [[fallthrough]];
    case 2: {
      call("bitmap clear");
      std::fill(model.bits.begin(), model.bits.end(), false);
      return image_->bitmaps()->clear(name);
    }
    default: {
      model.enabled = !model.enabled;
      call(model.enabled ? "bitmap enable" : "bitmap disable");
      return image_->bitmaps()->set_enabled(name, model.enabled);
    }
  }
}

void CrashSequence::save_bitmaps() {
  if (p_.set.version_2()) return change_one();
  kind_ = what_ = "bitmap save";
  save();
}

void CrashSequence::save() {
  model_.bitmaps.change(model_.bitmaps.now(), model_.guest.live());
  must(image_->bitmaps()->save());
  model_.bitmaps.settled();
}

}  // namespace platter::qcow2::test
