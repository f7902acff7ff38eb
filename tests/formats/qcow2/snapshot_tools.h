// A qcow2 image on a disk in memory, and what it and its snapshots should hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/check.h"
#include "formats/qcow2/create.h"
#include "formats/qcow2/qcow2_image.h"
#include "formats/qcow2/snapshots.h"
#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/formats/qcow2/check_tools.h"
#include "tests/support/crash_file.h"
#include "tests/support/random_ops.h"
#include "tests/support/shared_file.h"

namespace platter::qcow2::test {

using Bytes = std::vector<std::byte>;

/// What guests can see: now, and by name in each snapshot.
struct Contents {
  Bytes active;
  std::map<std::string, Bytes> snapshots;
  bool operator==(const Contents&) const = default;
};

/// A name and the options of an image.
struct SnapshotSet {
  std::string name;
  CreateOptions options;
  bool compressed = false;              ///< write some clusters in compressed form
  std::uint64_t memory_max = 4 * kMiB;  ///< bytes; the least, and counts are looked at in parts
};
inline void PrintTo(const SnapshotSet& set, std::ostream* stream) { *stream << set.name; }

inline std::vector<SnapshotSet> snapshot_sets() {
  const auto sized = [](std::uint64_t size, std::uint64_t cluster) {
    CreateOptions options;
    options.size = size;
    options.cluster_size = cluster;
    return options;
  };
  std::vector<SnapshotSet> sets;
  sets.push_back({"default", sized(600 * kKiB, 64 * kKiB)});
  sets.push_back({"c512", sized(200 * kKiB, 512)});
  sets.push_back({"c512_in_parts", sized(200 * kKiB, 512), false, 4 * kKiB});
  sets.push_back({"compressed", sized(300 * kKiB, 4 * kKiB), true});
  sets.push_back({"c512_rc64", sized(100 * kKiB, 512), true, 1});
  sets.back().options.refcount_bits = 64;
  sets.push_back({"c4k_rc2", sized(300 * kKiB, 4 * kKiB)});
  sets.back().options.refcount_bits = 2;
  sets.push_back({"rc8_lazy", sized(300 * kKiB, 8 * kKiB), true});
  sets.back().options.refcount_bits = 8;
  sets.back().options.lazy_refcounts = true;
  sets.push_back({"extl2", sized(400 * kKiB, 16 * kKiB)});
  sets.back().options.extended_l2 = true;
  sets.push_back({"v2", sized(300 * kKiB, 4 * kKiB)});
  sets.back().options.version = 2;
  sets.push_back({"prealloc", sized(300 * kKiB, 4 * kKiB)});
  sets.back().options.preallocation = Preallocation::metadata;
  return sets;
}

class SnapshotRig {
 public:
  explicit SnapshotRig(std::uint64_t seed = 1) : random_(seed) {}

  Ring& ring() { return *ring_; }
  platter::test::CrashFile& file() { return *file_; }
  Contents& model() { return model_; }
  const Bytes& backing() const { return backing_; }
  template <class T>
  Result<T> run(Task<T> task) {
    return ring_->run(std::move(task));
  }
  /// A failure of the test if it fails.
  void must(Task<void> task, const std::string& what) {
    const Result<void> done = run(std::move(task));
    EXPECT_TRUE(done) << what << ": " << done.error().message();
  }

  void use(platter::test::Disk disk, unsigned yields_max = 0) {
    file_ = std::make_unique<platter::test::CrashFile>(
        std::move(disk), platter::test::CrashFileOptions{.name = "image",
                                                         .yields_max = yields_max,
                                                         .seed = random_(),
                                                         .discarded = std::byte{0xd5}});
  }
  /// What lies below the images from now on; those whose options name a backing file have it.
  void set_backing(Bytes backing) { backing_ = std::move(backing); }
  void create(const CreateOptions& options) {
    use(platter::test::Disk());
    const CreatePlan plan = plan_image(options).value();
    must(create_qcow2(*file_, nullptr, plan), "create");
    must(file_->flush(), "create");
    // Nobody writes to larger ones through this.
    model_ = {.active = Bytes(options.size <= 64 * kMiB ? options.size : 0), .snapshots = {}};
    const std::size_t shown = std::min(model_.active.size(), backing_.size());
    std::copy_n(backing_.begin(), shown, model_.active.begin());
  }

  static Task<std::unique_ptr<Qcow2Image>> open(std::unique_ptr<File> file, bool writable,
                                                std::uint64_t memory_max = 4 * kMiB,
                                                Bytes backing = {}) {
    auto image = co_await Qcow2Image::open(std::move(file), "image", memory_max);
    std::unique_ptr<Image> below;
    if (!backing.empty()) {
      auto memory = std::make_unique<MemoryFile>("backing");
      co_await memory->write(0, backing);
      below = co_await RawImage::open(std::move(memory), "backing");
    }
    co_await image->connect(std::move(below), nullptr, writable);
    co_return image;
  }
  std::unique_ptr<Qcow2Image> open(bool writable = true, std::uint64_t memory_max = 4 * kMiB) {
    auto file = std::make_unique<platter::test::SharedFile>(*file_);
    auto image = run(open(std::move(file), writable, memory_max, backing_));
    EXPECT_TRUE(image) << image.error().message();
    return image ? std::move(*image) : nullptr;
  }

  static Task<Bytes> read_all(Image& image) {
    Bytes bytes(image.virtual_size());
    co_await image.read(0, bytes);
    co_return bytes;
  }
  /// All that guests can see. Errors: those of opening and reading.
  static Task<Contents> look(File& file, Bytes backing = {}) {
    Contents contents;
    const auto open_one = [&] {
      return open(std::make_unique<platter::test::SharedFile>(file), false, 4 * kMiB, backing);
    };
    const auto image = co_await open_one();
    contents.active = co_await read_all(*image);
    const ImageInfo info = co_await image->info();
    co_await image->close();
    for (const SnapshotInfo& snapshot : info.snapshots) {
      const auto shown = co_await open_one();
      Result<void> done =
          co_await shown->show_snapshot({.id = snapshot.id, .name = snapshot.name}).result();
      Result<Bytes> bytes = Bytes();
      if (done) bytes = co_await read_all(*shown).result();
      co_await shown->close();
      co_await std::move(done);
      if (!bytes) co_return fail(std::move(bytes.error()));
      contents.snapshots.emplace(snapshot.name, std::move(*bytes));
    }
    co_return contents;
  }
  Contents look() {
    Result<Contents> contents = run(look(*file_, backing_));
    EXPECT_TRUE(contents) << contents.error().message();
    return contents ? std::move(*contents) : Contents();
  }

  Checked check(Repair repair = Repair::none) {
    Result<Checked> checked = run(check_file(*file_, repair));
    EXPECT_TRUE(checked) << checked.error().message();
    return checked ? std::move(*checked) : Checked();
  }
  void expect_clean() {
    const Checked checked = check();
    EXPECT_TRUE(checked.clean());
    for (const std::string& message : checked.messages) ADD_FAILURE() << message;
  }

  // What the guest does; the model follows.

  void write(Image& image, std::uint64_t offset, std::uint64_t length) {
    const Bytes data = platter::test::random_bytes(length, random_());
    must(image.write(offset, data), "write");
    std::ranges::copy(data, model_.active.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void write_compressed(Qcow2Image& image, std::uint64_t offset) {
    const std::uint64_t cluster = image.header().cluster_size();
    offset = align_down(offset, cluster);
    Bytes data(std::min(3 * cluster, model_.active.size() - offset),
               static_cast<std::byte>(random_()));
    platter::test::fill_random(std::span(data).first(data.size() / 4), random_());
    must(image.write_compressed(offset, data), "write_compressed");
    std::ranges::copy(data, model_.active.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  /// A few writes here and there.
  void write_some(Qcow2Image& image, bool compressed) {
    const std::uint64_t cluster = image.header().cluster_size();
    for (int i = 0; i < 6; ++i) {
      const std::uint64_t offset = align_down(random_() % model_.active.size(), 512);
      const std::uint64_t length =
          std::min(512 + align_down(random_() % (3 * cluster), 512), model_.active.size() - offset);
      if (compressed && i % 3 == 2) {
        write_compressed(image, offset);
      } else if (i == 4) {
        must(image.write_zeroes(offset, length, ZeroMode::may_unmap), "write_zeroes");
        std::fill_n(model_.active.begin() + static_cast<std::ptrdiff_t>(offset), length,
                    std::byte{0});
      } else {
        write(image, offset, length);
      }
    }
  }
  void snapshot(Qcow2Image& image, const std::string& name) {
    must(image.create_snapshot({.name = name, .date_sec = 1'700'000'000}), "create " + name);
    model_.snapshots[name] = model_.active;
  }
  void apply(Qcow2Image& image, const std::string& name) {
    must(image.apply_snapshot(SnapshotKey::by_name(name)), "apply " + name);
    model_.active = model_.snapshots[name];
  }
  void remove(Qcow2Image& image, const std::string& name) {
    must(image.delete_snapshot(SnapshotKey::by_name(name)), "delete " + name);
    model_.snapshots.erase(name);
  }
  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  std::uint64_t seed() { return random_(); }

 private:
  std::unique_ptr<Ring> ring_ = Ring::create().value();
  std::mt19937_64 random_;
  std::unique_ptr<platter::test::CrashFile> file_;
  Contents model_;
  Bytes backing_;
};

}  // namespace platter::qcow2::test
