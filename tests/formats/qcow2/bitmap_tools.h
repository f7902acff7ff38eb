// A qcow2 image on a disk in memory, what its guest sees, and what its bitmaps should hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/bitmaps.h"
#include "formats/qcow2/qcow2_image.h"
#include "tests/formats/qcow2/snapshot_tools.h"

namespace platter::qcow2::test {

/// One bitmap. The bits of an inconsistent one are nobody's business.
struct BitmapModel {
  std::uint64_t granularity = 64 * kKiB;
  bool enabled = true;
  bool inconsistent = false;
  std::vector<bool> bits{};
  bool operator==(const BitmapModel&) const = default;

  void resize(std::uint64_t size) { bits.resize((size + granularity - 1) / granularity); }
  void mark(std::uint64_t offset, std::uint64_t length) {
    for (std::uint64_t at = offset / granularity; length > 0 && at * granularity < offset + length;
         ++at) {
      bits[at] = true;
    }
  }
  bool covers(std::uint64_t offset) const { return bits[offset / granularity]; }
  void merge(const BitmapModel& other) {
    for (std::size_t i = 0; i < other.bits.size(); ++i) {
      const std::uint64_t end = bits.size() * granularity;
      const std::uint64_t offset = i * other.granularity;
      if (other.bits[i]) mark(offset, std::min(other.granularity, end - offset));
    }
  }
};
using BitmapModels = std::map<std::string, BitmapModel>;

inline std::string describe(const BitmapModels& models) {
  std::string text;
  for (const auto& [name, model] : models) {
    text += " " + name + (model.enabled ? "+" : "-") + (model.inconsistent ? "!" : "") + ":";
    for (const bool bit : model.bits) text += bit ? '1' : '0';
  }
  return text;
}

/// All bitmaps of an image. Errors: those of opening and reading.
inline Task<BitmapModels> look_at_bitmaps(Qcow2Image& image) {
  BitmapModels models;
  const ImageInfo info = co_await image.info();
  for (const BitmapInfo& bitmap : info.qcow2->bitmaps) {
    BitmapModel model{.granularity = bitmap.granularity,
                      .enabled = bitmap.automatic,
                      .inconsistent = bitmap.in_use};
    if (!bitmap.in_use) {
      model.resize(image.virtual_size());
      const DirtyBits bits = co_await image.read_bitmap(bitmap.name);
      std::uint64_t at = 0;
      while (const auto run = bits.next_dirty(at)) {
        model.mark(run->offset, run->length);
        at = run->offset + run->length;
      }
    }
    models.emplace(bitmap.name, std::move(model));
  }
  co_return models;
}
inline Task<BitmapModels> look_at_bitmaps(File& file) {
  const auto image =
      co_await SnapshotRig::open(std::make_unique<platter::test::SharedFile>(file), false);
  Result<BitmapModels> models = co_await look_at_bitmaps(*image).result();
  co_await image->close();
  co_return models;
}

class BitmapRig : public SnapshotRig {
 public:
  using SnapshotRig::SnapshotRig;

  BitmapModels bitmaps;  ///< what they should be

  BitmapModels look_at() {
    Result<BitmapModels> models = run(look_at_bitmaps(file()));
    EXPECT_TRUE(models) << models.error().message();
    return models ? std::move(*models) : BitmapModels();
  }
  void expect_bitmaps() { EXPECT_EQ(describe(look_at()), describe(bitmaps)); }

  // What one does; the models follow.

  void add(Qcow2Image& image, const std::string& name, std::uint64_t granularity = 0,
           bool enabled = true) {
    must(image.bitmaps()->add({.name = name, .granularity = granularity, .enabled = enabled}),
         "add " + name);
    if (granularity == 0) {
      granularity = std::clamp(image.header().cluster_size(), 4 * kKiB, 64 * kKiB);
    }
    BitmapModel& model = bitmaps[name] = {.granularity = granularity, .enabled = enabled};
    model.resize(image.virtual_size());
  }
  void remove(Qcow2Image& image, const std::string& name) {
    must(image.bitmaps()->remove(name), "remove " + name);
    bitmaps.erase(name);
  }
  void enable(Qcow2Image& image, const std::string& name, bool enabled) {
    must(image.bitmaps()->set_enabled(name, enabled), "enable " + name);
    bitmaps[name].enabled = enabled;
  }
  void clear(Qcow2Image& image, const std::string& name) {
    must(image.bitmaps()->clear(name), "clear " + name);
    std::fill(bitmaps[name].bits.begin(), bitmaps[name].bits.end(), false);
  }
  void merge(Qcow2Image& image, const std::string& name, const std::string& source) {
    must(merge_within(image, name, source), "merge " + source + " into " + name);
    bitmaps[name].merge(BitmapModel(bitmaps[source]));
  }
  static Task<void> merge_within(Qcow2Image& image, std::string name, std::string source) {
    const DirtyBits bits = co_await image.read_bitmap(std::move(source));
    co_await image.bitmaps()->merge(std::move(name), bits);
  }
  void write(Image& image, std::uint64_t offset, std::uint64_t length) {
    SnapshotRig::write(image, offset, length);
    record(offset, length);
  }
  /// The guest changes a range, somehow.
  void record(std::uint64_t offset, std::uint64_t length) {
    for (auto& [name, bitmap] : bitmaps) {
      if (bitmap.enabled && !bitmap.inconsistent) bitmap.mark(offset, length);
    }
  }
  void close(Image& image) { must(image.close(), "close"); }
  /// As if the process had died: what is on the disk now is all there is.
  void lose_power(std::unique_ptr<Qcow2Image> image) {
    const platter::test::Disk disk = file().live();
    must(image->close(), "close");
    image.reset();
    use(disk);
  }
};

}  // namespace platter::qcow2::test
