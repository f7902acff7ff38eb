// Random operations by QEMU's tools on an image; the model follows.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "tests/formats/qcow2/random/image_rig.h"

namespace platter::qcow2::test {

/// REQUIRES: nobody has the image open.
class QemuSteps {
 public:
  explicit QemuSteps(ImageRig& rig) : rig_(rig) {}

  std::uint64_t done() const { return done_; }

  /// `count` requests in one qemu-io, and about a tenth as much by qemu-img.
  void turn(std::uint64_t count) {
    rig_.put_on_disk();
    const std::uint64_t changes = 1 + count / 10;
    for (std::uint64_t i = 0; i < changes; ++i) {
      if (i == changes / 2) request(count);
      change();
    }
    if (compresses()) write_compressed(1 + count / 10);
    rig_.take_from_disk();
  }

 private:
  ImageModel& model() { return rig_.model(); }
  std::uint64_t cluster() const { return rig_.set().cluster_size(); }
  void run(const std::vector<std::string>& words) {
    std::string text = "qemu-img";
    for (const std::string& word : words) text += " " + word;
    rig_.note(text);
    rig_.qemu_img(words);
    ++done_;
  }

  // --- requests

  struct Range {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::string text() const { return std::to_string(offset) + " " + std::to_string(length); }
  };
  Range pick_range() {
    const std::uint64_t unit = rig_.below(2) == 0 ? std::uint64_t{512} : cluster();
    Range range{.offset = align_down(rig_.below(model().size()), unit)};
    const std::uint64_t most = rig_.below(3) == 0 ? 6 * cluster() : std::max(cluster(), 2 * unit);
    range.length = std::max<std::uint64_t>(512, align_down(rig_.below(most), unit));
    range.length = std::min(range.length, model().size() - range.offset);
    return range;
  }
  void request(std::uint64_t count) {
    std::vector<std::string> commands;
    for (std::uint64_t i = 0; i < count; ++i) {
      const Range range = pick_range();
      const std::uint64_t kind = rig_.below(6);
      if (kind == 0) {
        commands.push_back("discard " + range.text());
        model().discard(range.offset, range.length);
      } else if (kind < 3) {
        commands.push_back((kind == 1 ? "write -z " : "write -z -u ") + range.text());
        model().fill(range.offset, range.length, std::byte{0});
      } else {
        const std::uint64_t value = 1 + rig_.below(255);
        commands.push_back("write -P " + std::to_string(value) + " " + range.text());
        model().fill(range.offset, range.length, static_cast<std::byte>(value));
      }
    }
    send(commands);
  }
  void send(const std::vector<std::string>& commands) {
    for (const std::string& command : commands) rig_.note("qemu-io " + command);
    rig_.qemu_io(rig_.path(), "qcow2", commands);
    done_ += commands.size();
  }

  // Version 2 over a backing file can't give a cluster up, and QEMU compresses into clusters that
  // have no place alone.
  bool compresses() const {
    return !rig_.set().data_file() && (!rig_.set().version2() || rig_.set().backing.empty());
  }
  // First room is made for all: QEMU 7.2 does not forget the place for compressed data that it
  // gives up.
  void write_compressed(std::uint64_t count) {
    std::vector<std::string> commands;
    std::vector<Range> ranges;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t clusters = model().size() / cluster();
      if (clusters == 0) return;
      const Range range{.offset = rig_.below(clusters) * cluster(), .length = cluster()};
      commands.push_back("discard " + range.text());
      model().discard(range.offset, range.length);
      const bool known = std::ranges::any_of(
          ranges, [&](const Range& other) { return other.offset == range.offset; });
      if (!known) ranges.push_back(range);
    }
    send(commands);
    commands.clear();
    for (const Range& range : ranges) {
      const std::uint64_t value = 1 + rig_.below(255);
      commands.push_back("write -c -P " + std::to_string(value) + " " + range.text());
      model().fill(range.offset, range.length, static_cast<std::byte>(value));
    }
    send(commands);
  }

  // --- what qemu-img changes

  void change() {
    switch (rig_.below(4)) {
      case 0: resize(); break;
      case 1: change_snapshots(); break;
      default: change_bitmaps();
    }
  }
  // It does not always grow one of version 2, or with subclusters, where a longer backing file would
  // show; and what the last cluster held behind an end within it is there again.
  void resize() {
    const OptionSet& set = rig_.set();
    if (set.version2() && !model().snapshots.empty()) return;
    if (!set.backing.empty() && (set.version2() || set.has("extended_l2"))) return;
    const std::uint64_t size = align_down(rig_.below(2 * set.size), 512) + 512;
    run({"resize", "-q", "--shrink", "-f", "qcow2", rig_.path(), std::to_string(size)});
    const std::uint64_t old_size = model().size();
    model().resize(size);
    const std::uint64_t old_end = std::min(size, align_up(old_size, cluster()));
    if (old_end <= old_size) return;
    const Bytes seen = rig_.raw_contents(rig_.path(), {});
    const auto from = [&](const Bytes& bytes) {
      return bytes.begin() + static_cast<std::ptrdiff_t>(old_size);
    };
    std::copy_n(from(seen), old_end - old_size,
                model().active.begin() + (from(seen) - seen.begin()));
  }

  void change_snapshots() {
    // Counts that are too small: QEMU leaves leaks when it finds out.
    if (rig_.set().data_file() || rig_.set().small_counts()) return;
    const std::uint64_t kind = rig_.below(3);
    if (kind == 0 && model().snapshots.size() < 4) {
      const std::string name = "q" + std::to_string(++named_);
      run({"snapshot", "-c", name, rig_.path()});
      model().snapshots[name] = model().active;
    } else if (!model().snapshots.empty()) {
      auto at = model().snapshots.begin();
      std::advance(at, static_cast<std::ptrdiff_t>(rig_.below(model().snapshots.size())));
      if (kind == 1) {
        run({"snapshot", "-d", at->first, rig_.path()});
        model().snapshots.erase(at);
      } else if (model().bitmaps.empty()) {
        run({"snapshot", "-a", at->first, rig_.path()});
        model().active = at->second;
      }
    }
  }

  void change_bitmaps() {
    if (rig_.set().version2() || !rig_.set().room_for_bitmaps()) return;
    const std::string name = "b" + std::to_string(rig_.below(4));
    if (!model().bitmaps.contains(name)) {
      const std::uint64_t granularity = std::uint64_t{512} << rig_.below(12);
      const bool enabled = rig_.below(4) != 0;
      std::vector<std::string> words{"bitmap", "--add", "-g", std::to_string(granularity)};
      if (!enabled) words.push_back("--disable");
      words.insert(words.end(), {rig_.path(), name});
      run(words);
      model().add_bitmap(name, granularity, enabled);
      return;
    }
    switch (rig_.below(4)) {
      case 0:
        run({"bitmap", "--remove", rig_.path(), name});
        model().bitmaps.erase(name);
        break;
      case 1:
        run({"bitmap", "--clear", rig_.path(), name});
        model().clear_bitmap(name);
        break;
      case 2: {
        bool& enabled = model().bitmaps.at(name).enabled;
        enabled = !enabled;
        run({"bitmap", enabled ? "--enable" : "--disable", rig_.path(), name});
        break;
      }
      default: {
        const std::string source = model().bitmaps.begin()->first;
        run({"bitmap", "--merge", source, rig_.path(), name});
        model().merge_bitmaps(name, source);
      }
    }
  }

  ImageRig& rig_;
  std::uint64_t done_ = 0;
  std::uint64_t named_ = 0;
};

}  // namespace platter::qcow2::test
