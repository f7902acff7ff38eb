// What an image holds, read by platter and by QEMU's tools, beside the model.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "formats/snapshot_key.h"
#include "tests/formats/qcow2/random/disk_bitmaps.h"
#include "tests/formats/qcow2/random/image_rig.h"

namespace platter::qcow2::test {

/// REQUIRES: nobody has the image open.
class Judge {
 public:
  explicit Judge(ImageRig& rig) : rig_(rig) {}

  /// Contents, snapshots and bitmaps as platter reads them; bitmaps as they lie in the file, too.
  /// Its check is clean.
  void platter_agrees() {
    const auto image = rig_.open(/*writable=*/false);
    if (!image) return;
    expect_same(read(*image), rig_.model().active, "what platter reads");
    expect_snapshots(*image);
    expect_bitmaps(*image);
    rig_.must(image->close(), "close");
    expect_clean();
  }

  /// The check is clean, and says the same as platter's; contents, snapshots and bitmaps are right.
  void qemu_agrees() {
    rig_.put_on_disk();
    expect_same_check();
    expect_same(rig_.raw_contents(rig_.path(), {}), rig_.model().active, "what qemu-img reads");
    const auto info = nlohmann::json::parse(rig_.qemu_img({"info", "--output=json", rig_.path()}),
                                            nullptr, /*exceptions=*/false);
    expect_described_snapshots(info);
    for (const auto& [name, contents] : rig_.model().snapshots) expect_snapshot(name, contents);
    expect_described_bitmaps(info);
    for (const auto& [name, bitmap] : rig_.model().bitmaps) expect_merged(name, bitmap);
    if (rig_.set().raw_data_file()) expect_raw_data();
  }

 private:
  Bytes read(Image& image) {
    Bytes bytes(image.virtual_size());
    rig_.must(image.read(0, bytes), "read");
    return bytes;
  }

  void expect_snapshots(Qcow2Image& image) {
    const Result<ImageInfo> info = rig_.run(image.info());
    ASSERT_TRUE(info) << info.error().message();
    EXPECT_EQ(info->snapshots.size(), rig_.model().snapshots.size());
    for (const auto& [name, contents] : rig_.model().snapshots) {
      const auto shown = rig_.open(/*writable=*/false);
      ASSERT_TRUE(shown);
      rig_.must(shown->show_snapshot(SnapshotKey::by_name(name)), "show " + name);
      expect_same(read(*shown), contents, "snapshot " + name);
      rig_.must(shown->close(), "close");
    }
  }
  void expect_bitmaps(Qcow2Image& image) {
    const std::string wanted = describe(rig_.model().bitmaps);
    const platter::test::Disk disk = rig_.disk();
    EXPECT_EQ(describe(DiskBitmaps(disk).read()), wanted) << "as they lie in the file";
    if (!rig_.set().room_for_bitmaps()) return;
    const Result<BitmapModels> seen = rig_.run(look_at_bitmaps(image));
    ASSERT_TRUE(seen) << seen.error().message();
    EXPECT_EQ(describe(*seen), wanted) << "as platter reads them";
  }

  CheckReport expect_clean() {
    const Checked checked = rig_.check();
    EXPECT_TRUE(checked.clean());
    for (const std::string& message : checked.messages) ADD_FAILURE() << message;
    return checked.report;
  }
  // QEMU may leave it longer, up to the end of a cluster.
  void expect_raw_data() {
    const Bytes& wanted = rig_.model().active;
    const Bytes seen = rig_.data_disk().bytes();
    ASSERT_GE(seen.size(), wanted.size()) << "the raw data file";
    expect_same(std::span(seen).first(wanted.size()), wanted, "the raw data file");
  }

  void expect_same_check() {
    const auto ran = rig_.try_qemu_img({"check", "--output=json", rig_.path()});
    EXPECT_TRUE(ran.ok()) << rig_.try_qemu_img({"check", rig_.path()}).out;
    const auto json = nlohmann::json::parse(ran.out, nullptr, /*exceptions=*/false);
    ASSERT_TRUE(json.is_object()) << ran.out << ran.err;
    const CheckReport ours = expect_clean();
    const auto theirs = [&](const char* name) { return json.value(name, std::uint64_t{0}); };
    EXPECT_EQ(ours.check_errors, theirs("check-errors"));
    EXPECT_EQ(ours.corruptions, theirs("corruptions"));
    EXPECT_EQ(ours.leaks, theirs("leaks"));
    EXPECT_EQ(ours.image_end_offset, theirs("image-end-offset"));
    EXPECT_EQ(ours.total_clusters, theirs("total-clusters"));
    EXPECT_EQ(ours.allocated_clusters, theirs("allocated-clusters"));
    EXPECT_EQ(ours.fragmented_clusters, theirs("fragmented-clusters"));
    EXPECT_EQ(ours.compressed_clusters, theirs("compressed-clusters"));
  }

  static nlohmann::json list_of(const nlohmann::json& value, const char* name) {
    return value.is_object() ? value.value(name, nlohmann::json::array()) : nlohmann::json();
  }
  void expect_described_snapshots(const nlohmann::json& info) {
    std::set<std::string> names;
    for (const auto& snapshot : list_of(info, "snapshots")) names.insert(snapshot.at("name"));
    std::set<std::string> wanted;
    for (const auto& [name, contents] : rig_.model().snapshots) wanted.insert(name);
    EXPECT_EQ(names, wanted) << "as qemu-img lists the snapshots";
  }
  // qemu-img leaves the size as it is, and shows what the two sizes have in common; going back to
  // the snapshot sets its size.
  void expect_snapshot(const std::string& name, const Bytes& contents) {
    const std::size_t common = std::min(contents.size(), rig_.model().active.size());
    Bytes shown = rig_.raw_contents(rig_.path(), {"-l", "snapshot.name=" + name});
    shown.resize(std::max(shown.size(), common));
    expect_same(std::span(shown).first(common), std::span(contents).first(common),
                "what qemu-img shows of snapshot " + name);
    if (common == contents.size() || !rig_.model().bitmaps.empty()) return;
    const std::string copy = rig_.copy();
    rig_.qemu_img({"snapshot", "-a", name, copy});
    expect_same(rig_.raw_contents(copy, {}), contents, "snapshot " + name + ", gone back to");
  }

  void expect_described_bitmaps(const nlohmann::json& info) {
    BitmapModels described;
    const auto specific = info.is_object() ? info.value("format-specific", nlohmann::json()) : info;
    const auto data = specific.is_object() ? specific.value("data", nlohmann::json()) : specific;
    for (const auto& bitmap : list_of(data, "bitmaps")) {
      const auto flags = bitmap.at("flags").get<std::set<std::string>>();
      described[bitmap.at("name")] = {.granularity = bitmap.at("granularity"),
                                      .enabled = flags.contains("auto"),
                                      .inconsistent = flags.contains("in-use")};
    }
    BitmapModels wanted = rig_.model().bitmaps;
    for (auto& [name, bitmap] : wanted) bitmap.bits.clear();
    EXPECT_EQ(described, wanted) << describe(described);
  }
  // What qemu-img takes its bits to be: it writes them into another image.
  void expect_merged(const std::string& name, const BitmapModel& bitmap) {
    const std::string other = rig_.in_folder("merged");
    rig_.qemu_img({"create", "-q", "-f", "qcow2", other, std::to_string(rig_.model().size())});
    rig_.qemu_img({"bitmap", "--add", "--disable", "-g", std::to_string(bitmap.granularity),
                   "--merge", name, "-b", rig_.path(), "-F", "qcow2", other, "copy"});
    const platter::test::Disk disk = platter::test::read_disk(other);
    BitmapModels wanted{{"copy", bitmap}};
    wanted["copy"].enabled = false;
    EXPECT_EQ(describe(DiskBitmaps(disk).read()), describe(wanted))
        << name << ", merged by qemu-img";
  }

  ImageRig& rig_;
};

}  // namespace platter::qcow2::test
