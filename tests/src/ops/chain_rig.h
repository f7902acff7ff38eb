// Backing chains on disks in memory that may lose power, or fail.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "formats/qcow2/check.h"
#include "formats/qcow2/create.h"
#include "formats/qcow2/qcow2_image.h"
#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/src/ops/file_tools.h"
#include "tests/support/crash_file.h"
#include "tests/support/disk.h"
#include "tests/support/random_ops.h"
#include "tests/support/shared_file.h"

namespace platter::test {

/// One image of a chain: qcow2 with these options, or raw of their size.
struct LayerSpec {
  std::string name;
  qcow2::CreateOptions options;
  bool raw = false;
  unsigned writes = 12;
};

inline LayerSpec layer(std::string name, std::uint64_t size, std::uint64_t cluster_size = 4096) {
  LayerSpec spec{.name = std::move(name), .options = {}};
  spec.options.size = size;
  spec.options.cluster_size = cluster_size;
  return spec;
}

using Disks = std::vector<Disk>;
using Files = std::vector<std::unique_ptr<File>>;

/// Layers are counted from the bottom of the chain.
class ChainRig {
 public:
  static constexpr std::uint64_t kMemory = 4 * kMiB;

  /// Names resolve to empty files in `folder`; what the layers hold is in memory.
  ChainRig(Ring& ring, std::string folder, std::vector<LayerSpec> layers, std::uint64_t seed)
      : ring_(ring), folder_(std::move(folder)), layers_(std::move(layers)), random_(seed) {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      platter::test::write_file(path(i), Bytes());
      disks_.emplace_back();
      disks_[i] = make(i);
    }
  }

  std::string path(std::size_t i) const { return folder_ + "/" + layers_[i].name; }
  std::size_t top() const { return layers_.size() - 1; }
  const Disks& disks() const { return disks_; }
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  /// Those from the bottom up to layer `files.size() - 1`; `writable`: by layer.
  Task<std::unique_ptr<Image>> open(Files files, std::vector<bool> writable) const {
    std::unique_ptr<Image> image;
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (layers_[i].raw) {
        image = co_await RawImage::open(std::move(files[i]), path(i));
        continue;
      }
      auto above = co_await qcow2::Qcow2Image::open(std::move(files[i]), path(i), kMemory);
      co_await above->connect(std::move(image), nullptr, writable[i]);
      image = std::move(above);
    }
    co_return image;
  }

  /// What the topmost of these shows.
  Bytes look(const Disks& disks) const {
    Files files;
    for (const Disk& disk : disks) files.push_back(std::make_unique<CrashFile>(disk));
    const Result<Bytes> seen = ring_.run(read(std::move(files)));
    EXPECT_TRUE(seen) << seen.error().message();
    return seen ? *seen : Bytes();
  }

  /// Nothing but leaks may be wrong with any of them.
  void check(const Disks& disks, bool leaks = true) const {
    for (std::size_t i = 0; i < disks.size(); ++i) {
      if (layers_[i].raw) continue;
      CrashFile file(disks[i]);
      const Result<qcow2::CheckReport> report = ring_.run(check_file(file));
      ASSERT_TRUE(report) << path(i) << ": " << report.error().message();
      EXPECT_EQ(report->corruptions, 0U) << path(i);
      EXPECT_EQ(report->check_errors, 0U) << path(i);
      if (!leaks) EXPECT_EQ(report->leaks, 0U) << path(i);
    }
  }

 private:
  static Task<qcow2::CheckReport> check_file(File& file) {
    qcow2::Header header = co_await qcow2::read_header_for_check(file);
    co_return co_await qcow2::check_refcounts(header, file, {});
  }

  Task<Bytes> read(Files files) const {
    const std::vector<bool> none(files.size());
    const auto image = co_await open(std::move(files), none);
    Bytes bytes(image->virtual_size());
    Result<void> done = co_await image->read(0, bytes).result();
    co_await image->close();
    co_await std::move(done);
    co_return bytes;
  }

  Disk make(std::size_t i) {
    CrashFile file(Disk(layers_[i].raw ? layers_[i].options.size : 0));
    const Result<void> done = ring_.run(fill(i, file));
    EXPECT_TRUE(done) << done.error().message();
    return file.live();
  }

  Task<void> fill(std::size_t i, CrashFile& file) {
    qcow2::CreateOptions options = layers_[i].options;
    if (i > 0) {
      options.backing_file = layers_[i - 1].name;
      options.backing_format = layers_[i - 1].raw ? "raw" : "qcow2";
    }
    if (!layers_[i].raw) {
      const qcow2::CreatePlan plan = co_await qcow2::plan_image(options);
      co_await qcow2::create_qcow2(file, nullptr, plan);
    }
    Files files;
    for (std::size_t j = 0; j < i; ++j) files.push_back(std::make_unique<CrashFile>(disks_[j]));
    files.push_back(std::make_unique<SharedFile>(file));
    std::vector<bool> writable(files.size());
    writable.back() = true;
    const auto image = co_await open(std::move(files), std::move(writable));
    Result<void> done = co_await write(*image, layers_[i].writes).result();
    Result<void> closed = co_await image->close().result();
    co_await std::move(done);
    co_await std::move(closed);
  }

  // Data, of which some are zeroes, and zero clusters, anywhere.
  Task<void> write(Image& image, unsigned count) {
    const std::uint64_t size = image.virtual_size();
    for (unsigned i = 0; i < count; ++i) {
      const std::uint64_t offset = below(size / 512) * 512;
      const std::uint64_t length = std::min(size - offset, (1 + below(40)) * 512);
      if (i % 4 == 3) {
        co_await image.write_zeroes(offset, length, ZeroMode::may_unmap);
      } else {
        Bytes data = random_bytes(length, random_());
        if (i % 4 == 2) std::fill(data.begin() + std::ssize(data) / 2, data.end(), std::byte{0});
        co_await image.write(offset, data);
      }
    }
  }

  Ring& ring_;
  std::string folder_;
  std::vector<LayerSpec> layers_;
  std::mt19937_64 random_;
  Disks disks_;
};

/// The same chain while something is done to it: each layer's file, live.
class LiveChain {
 public:
  LiveChain(const Disks& disks, std::uint64_t seed) {
    for (const Disk& disk : disks) {
      files_.push_back(std::make_unique<CrashFile>(
          disk, CrashFileOptions{.yields_max = 2, .seed = seed + files_.size()}));
    }
  }

  CrashFile& file(std::size_t i) { return *files_[i]; }
  Disks live() const {
    Disks disks;
    for (const auto& file : files_) disks.push_back(file->live());
    return disks;
  }
  /// Files for the images, which leave these here open.
  Files shared() {
    Files shared;
    for (const auto& file : files_) shared.push_back(std::make_unique<SharedFile>(*file));
    return shared;
  }

  /// What a loss of power may leave now: of `each`, some of what its plans say, beside anything of
  /// the others.
  std::vector<Disks> crash_states(std::size_t each, ChainRig& rig, std::size_t count) {
    std::vector<CrashPlan> plans = files_[each]->systematic_plans();
    std::shuffle(plans.begin(), plans.end(), std::mt19937_64(rig.below(~0U)));
    plans.resize(std::min(plans.size(), count));
    for (int i = 0; i < 4; ++i) plans.push_back(CrashPlan::random(rig.below(~0U)));
    std::vector<Disks> states;
    for (const CrashPlan& plan : plans) {
      Disks state;
      for (std::size_t i = 0; i < files_.size(); ++i) {
        state.push_back(
            files_[i]->crash_state(i == each ? plan : CrashPlan::random(rig.below(~0U))));
      }
      states.push_back(std::move(state));
    }
    return states;
  }

 private:
  std::vector<std::unique_ptr<CrashFile>> files_;
};

}  // namespace platter::test
