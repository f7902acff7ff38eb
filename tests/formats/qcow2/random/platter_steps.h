// Random operations by platter on an open image; the model follows. What can't be done is asked for,
// too, and has to be refused.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/qcow2_image.h"
#include "formats/qcow2/snapshots.h"
#include "io/task_group.h"
#include "tests/formats/qcow2/random/image_rig.h"
#include "tests/support/random_ops.h"

namespace platter::qcow2::test {

class PlatterSteps {
 public:
  explicit PlatterSteps(ImageRig& rig) : rig_(rig) {}

  std::uint64_t done() const { return done_; }
  std::uint64_t refused() const { return refused_; }

  Task<void> step(Qcow2Image& image) {
    struct Choice {
      unsigned weight;
      Task<void> (PlatterSteps::*step)(Qcow2Image&);
    };
    static constexpr Choice kChoices[] = {
        {8, &PlatterSteps::write},           {2, &PlatterSteps::write_at_once},
        {2, &PlatterSteps::write_in_place},  {2, &PlatterSteps::write_compressed},
        {3, &PlatterSteps::write_zeroes},    {2, &PlatterSteps::discard},
        {1, &PlatterSteps::flush},           {4, &PlatterSteps::read},
        {2, &PlatterSteps::resize},          {1, &PlatterSteps::ask_for_too_much},
        {2, &PlatterSteps::take_snapshot},   {1, &PlatterSteps::apply_snapshot},
        {1, &PlatterSteps::delete_snapshot}, {3, &PlatterSteps::change_bitmap}};
    unsigned sum = 0;
    for (const Choice& choice : kChoices) sum += choice.weight;
    std::uint64_t left = rig_.below(sum);
    const Choice* choice = kChoices;
    for (; left >= choice->weight; ++choice) left -= choice->weight;
    co_await (this->*choice->step)(image);
    ++done_;
  }

  /// So that an image has at least a cluster: without one, even counts of one bit allow snapshots.
  Task<void> write_first(Qcow2Image& image) { co_await write_range(image, {0, 512}); }

 private:
  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  static std::string text_of(Range range) {
    return " " + std::to_string(range.offset) + "+" + std::to_string(range.length);
  }

  ImageModel& model() { return rig_.model(); }
  std::uint64_t cluster() const { return rig_.set().cluster_size(); }

  // Likes the borders of clusters and sectors, and the end of the image.
  Range pick_range() {
    const std::uint64_t unit = rig_.below(2) == 0 ? cluster() : rig_.below(2) == 0 ? 512 : 1;
    Range range{.offset =
                    std::min(align_down(rig_.below(model().size() + 1), unit), model().size())};
    range.length = rig_.below(rig_.below(3) == 0 ? 8 * cluster() : cluster()) + 1;
    if (rig_.below(2) == 0) range.length = std::max(unit, align_down(range.length, unit));
    range.length = std::min(range.length, model().size() - range.offset);
    return range;
  }

  // --- outcomes

  // True if it was done. `refusal`: the error that there has to be.
  bool settle(const Result<void>& result, std::optional<ErrorKind> refusal) {
    if (!refusal) {
      EXPECT_TRUE(result) << rig_.last() << ": " << result.error().message();
    } else if (result) {
      ADD_FAILURE() << rig_.last() << " is not refused";
    } else {
      EXPECT_EQ(to_string(result.error().kind()), to_string(*refusal))
          << rig_.last() << ": " << result.error().message();
      ++refused_;
    }
    return result.has_value();
  }
  // The same where counts are small: qemu-img tells whether it was right to refuse it.
  bool settle_counted(const Result<void>& result, const std::vector<std::string>& words) {
    if (result || !rig_.set().small_counts()) return settle(result, {});
    EXPECT_TRUE(rig_.qemu_img_refuses(words)) << rig_.last() << " is refused";
    return settle(result, ErrorKind::too_large);
  }

  // --- requests

  Task<void> write(Qcow2Image& image) { co_await write_range(image, pick_range()); }
  Task<void> write_range(Image& image, Range range) {
    rig_.note("write" + text_of(range));
    const Bytes data = platter::test::random_bytes(range.length, rig_.random());
    co_await image.write(range.offset, data);
    model().write(range.offset, data);
  }
  Task<void> zero_range(Image& image, Range range) {
    const bool keep = rig_.below(2) == 0;
    rig_.note(std::string("write_zeroes") + (keep ? " keep" : "") + text_of(range));
    co_await image.write_zeroes(range.offset, range.length,
                                keep ? ZeroMode::keep_allocated : ZeroMode::may_unmap);
    model().fill(range.offset, range.length, std::byte{0});
  }
  Task<void> write_zeroes(Qcow2Image& image) { co_await zero_range(image, pick_range()); }
  Task<void> discard_range(Image& image, Range range) {
    rig_.note("discard" + text_of(range));
    co_await image.discard(range.offset, range.length);
    model().discard(range.offset, range.length);
  }
  Task<void> discard(Qcow2Image& image) { co_await discard_range(image, pick_range()); }

  // Small ones next to each other, so that many want the same new cluster.
  Task<void> write_at_once(Qcow2Image& image) {
    const std::uint64_t begin =
        rig_.below(model().size() - std::min(model().size(), 3 * cluster()) + 1);
    const std::uint64_t end = std::min(model().size(), begin + 3 * cluster());
    auto body = [&](TaskGroup& group) -> Task<void> {
      Range range{.offset = begin};
      for (; range.offset < end; range.offset += range.length) {
        range.length = std::min(rig_.below(cluster() / 2) + 1, end - range.offset);
        const std::uint64_t kind = rig_.below(8);
        co_await group.spawn(kind == 0   ? zero_range(image, range)
                             : kind == 1 ? discard_range(image, range)
                                         : write_range(image, range));
      }
      co_await group.spawn(image.flush());
    };
    co_await with_group(64, body);
  }

  // As the copy engine does it.
  Task<void> write_in_place(Qcow2Image& image) {
    const Range range = pick_range();
    if (range.length == 0) co_return;
    const bool give_up = rig_.below(4) == 0;
    rig_.note((give_up ? "prepare and abandon" : "prepare and commit") + text_of(range));
    const WritePlace place = co_await image.prepare_write(range.offset, range.length);
    model().record(range.offset, range.length);
    if (give_up) {
      co_await image.abandon_write(place);
      co_return;
    }
    const Bytes data =
        platter::test::random_bytes(std::min(place.length, range.length), rig_.random());
    Result<void> written = co_await place.file->write(place.file_offset, data).result();
    co_await image.commit_write(place);
    co_await std::move(written);
    model().write(range.offset, data);
  }

  Task<void> write_compressed(Qcow2Image& image) {
    Range range = pick_range();
    range.offset = align_down(range.offset, cluster());
    range.length = std::min(align_up(range.length, cluster()), model().size() - range.offset);
    rig_.note("write_compressed" + text_of(range));
    Bytes data(range.length, static_cast<std::byte>(rig_.random()));
    platter::test::fill_random(std::span(data).first(range.length / (1 + rig_.below(8))),
                               rig_.random());
    const Result<void> result = co_await image.write_compressed(range.offset, data).result();
    std::optional<ErrorKind> refusal;
    if (rig_.set().data_file()) refusal = ErrorKind::unsupported;
    if (settle(result, refusal)) model().write(range.offset, data);
  }

  Task<void> flush(Qcow2Image& image) {
    rig_.note("flush");
    co_await image.flush();
  }
  Task<void> read(Qcow2Image& image) {
    const Range range = pick_range();
    Bytes bytes(range.length);
    co_await image.read(range.offset, bytes);
    expect_same(bytes, std::span(model().active).subspan(range.offset, range.length),
                "what is read at" + text_of(range) + ", after " + rig_.last() + ",");
  }

  Task<void> ask_for_too_much(Qcow2Image& image) {
    const Range range{.offset = model().size() - rig_.below(512),
                      .length = 512 + rig_.below(cluster())};
    rig_.note("past the end" + text_of(range));
    Bytes data(range.length);
    settle(co_await image.read(range.offset, data).result(), ErrorKind::out_of_bounds);
    settle(co_await image.write(range.offset, data).result(), ErrorKind::out_of_bounds);
    settle(co_await image.write_zeroes(range.offset, range.length, ZeroMode::may_unmap).result(),
           ErrorKind::out_of_bounds);
    settle(co_await image.discard(range.offset, range.length).result(), ErrorKind::out_of_bounds);
    settle(co_await image.resize(model().size() + 1 + rig_.below(511), {}).result(),
           ErrorKind::invalid_argument);
    settle(co_await image.delete_snapshot(SnapshotKey::by_name("none")).result(),
           ErrorKind::not_found);
  }

  Task<void> resize(Qcow2Image& image) {
    if (rig_.set().version2() && rig_.below(2) == 0) co_await delete_snapshots(image);
    const std::uint64_t size = align_down(rig_.below(2 * rig_.set().size), 512) + 512;
    constexpr Preallocation kModes[] = {Preallocation::off, Preallocation::metadata,
                                        Preallocation::falloc, Preallocation::full};
    const Preallocation mode = rig_.below(2) == 0 ? Preallocation::off : kModes[rig_.below(4)];
    rig_.note("resize " + std::to_string(size) + " " + std::string(to_string(mode)));
    std::optional<ErrorKind> refusal;
    if (size <= model().size() && mode != Preallocation::off) refusal = ErrorKind::invalid_argument;
    if (rig_.set().version2() && !model().snapshots.empty()) refusal = ErrorKind::unsupported;
    if (settle(co_await image.resize(size, {.preallocation = mode}).result(), refusal)) {
      model().resize(size);
    }
  }

  // --- snapshots

  static constexpr std::size_t kSnapshotsMax = 4;

  std::string some_snapshot() {
    auto at = model().snapshots.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(rig_.below(model().snapshots.size())));
    return at->first;
  }

  Task<void> take_snapshot(Qcow2Image& image) {
    if (model().snapshots.size() >= kSnapshotsMax) co_await delete_snapshot(image);
    const std::string name = "s" + std::to_string(++named_);
    rig_.note("take " + name);
    const Result<void> result =
        co_await image.create_snapshot({.name = name, .date_sec = 1'700'000'000}).result();
    if (rig_.set().data_file()) {
      settle(result, ErrorKind::unsupported);
    } else if (settle_counted(result, {"snapshot", "-c", name})) {
      EXPECT_NE(rig_.set().refcount_bits(), 1U) << "two references, counted in one bit";
      model().snapshots[name] = model().active;
    }
  }
  Task<void> apply_snapshot(Qcow2Image& image) {
    // Otherwise there would hardly ever be no bitmaps.
    while (rig_.below(4) != 0 && !model().bitmaps.empty()) {
      const std::string name = model().bitmaps.begin()->first;
      rig_.note("remove bitmap " + name);
      co_await image.bitmaps()->remove(name);
      model().bitmaps.erase(name);
    }
    const std::string name = model().snapshots.empty() ? "none" : some_snapshot();
    rig_.note("apply " + name);
    const Result<void> result = co_await image.apply_snapshot(SnapshotKey::by_name(name)).result();
    if (!model().bitmaps.empty() || rig_.set().data_file()) {
      settle(result, ErrorKind::unsupported);
    } else if (model().snapshots.empty()) {
      settle(result, ErrorKind::not_found);
    } else if (settle_counted(result, {"snapshot", "-a", name})) {
      model().active = model().snapshots[name];
    }
  }
  Task<void> delete_snapshot(Qcow2Image& image) {
    if (model().snapshots.empty()) co_return;
    const std::string name = some_snapshot();
    rig_.note("delete " + name);
    co_await image.delete_snapshot(SnapshotKey::by_name(name));
    model().snapshots.erase(name);
  }
  Task<void> delete_snapshots(Qcow2Image& image) {
    while (!model().snapshots.empty()) co_await delete_snapshot(image);
  }

  // --- bitmaps

  std::string some_name() { return "b" + std::to_string(rig_.below(4)); }

  Task<void> change_bitmap(Qcow2Image& image) {
    if (!rig_.set().room_for_bitmaps()) co_return;
    const std::string name = some_name();
    std::optional<ErrorKind> unknown;
    if (!model().bitmaps.contains(name)) unknown = ErrorKind::not_found;
    Bitmaps& bitmaps = *image.bitmaps();
    switch (rig_.below(8)) {
      case 0:
        rig_.note("remove bitmap " + name);
        if (settle(co_await bitmaps.remove(name).result(), unknown)) model().bitmaps.erase(name);
        break;
      case 1:
        rig_.note("clear bitmap " + name);
        if (settle(co_await bitmaps.clear(name).result(), unknown)) model().clear_bitmap(name);
        break;
      case 2:
      case 3: {
        const bool enabled = rig_.below(2) == 0;
        rig_.note((enabled ? "enable bitmap " : "disable bitmap ") + name);
        if (settle(co_await bitmaps.set_enabled(name, enabled).result(), unknown)) {
          model().bitmaps[name].enabled = enabled;
        }
        break;
      }
      case 4: co_await merge_bitmaps(image, name); break;
      case 5:
        rig_.note("save bitmaps");
        co_await bitmaps.save();
        break;
      default: co_await add_bitmap(bitmaps, name);
    }
  }
  Task<void> add_bitmap(Bitmaps& bitmaps, std::string name) {
    const std::uint64_t shift = rig_.below(16);
    const bool odd = shift == 15;
    const std::uint64_t granularity = shift == 14 ? 0 : odd ? 1000 : std::uint64_t{512} << shift;
    const bool enabled = rig_.below(4) != 0;
    rig_.note("add bitmap " + name + ", " + std::to_string(granularity));
    const Result<void> result =
        co_await bitmaps.add({.name = name, .granularity = granularity, .enabled = enabled})
            .result();
    std::optional<ErrorKind> refusal;
    if (rig_.set().version2()) refusal = ErrorKind::unsupported;
    if (model().bitmaps.contains(name)) refusal = ErrorKind::already_exists;
    if (odd) refusal = ErrorKind::invalid_argument;
    if (settle(result, refusal)) model().add_bitmap(name, granularity, enabled);
  }
  Task<void> merge_bitmaps(Qcow2Image& image, std::string name) {
    const std::string source = some_name();
    rig_.note("merge bitmap " + source + " into " + name);
    std::optional<ErrorKind> refusal;
    if (!model().bitmaps.contains(name) || !model().bitmaps.contains(source)) {
      refusal = ErrorKind::not_found;
    }
    const Result<void> result = co_await merge(image, name, source).result();
    if (settle(result, refusal)) model().merge_bitmaps(name, source);
  }
  static Task<void> merge(Qcow2Image& image, std::string name, std::string source) {
    const DirtyBits bits = co_await image.read_bitmap(std::move(source));
    co_await image.bitmaps()->merge(std::move(name), bits);
  }

  ImageRig& rig_;
  std::uint64_t done_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t named_ = 0;
};

}  // namespace platter::qcow2::test
