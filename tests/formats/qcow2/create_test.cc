#include "formats/qcow2/create.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "formats/qcow2/header_encode.h"
#include "io/bytes.h"
#include "io/memory_file.h"
#include "io/ring.h"
#include "tests/support/crash_file.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"
#include "tests/support/run_command.h"
#include "tests/support/temp_dir.h"

namespace platter::qcow2 {
namespace {

using test::CrashFile;
using test::CrashPlan;
using test::Disk;
using test::Fault;
using test::FaultPlan;
using test::FaultyFile;
using test::memory_file;
using test::read_all;
using enum Preallocation;

using Bytes = std::vector<std::byte>;

class Qcow2Create : public testing::Test {
 protected:
  template <class T>
  T get(Task<T> task) {
    Result<T> result = ring_->run(std::move(task));
    if (!result) ADD_FAILURE() << result.error().message();
    if constexpr (!std::is_void_v<T>) return std::move(result).value();
  }
  CreatePlan planned(CreateOptions options) {
    Result<CreatePlan> plan = plan_image(std::move(options));
    if (!plan) ADD_FAILURE() << plan.error().message();
    return plan ? *std::move(plan) : CreatePlan();
  }
  // The whole image.
  Bytes make(CreateOptions options) {
    MemoryFile file;
    MemoryFile data("data");
    const bool has_data = options.data_file.has_value();
    get(create_qcow2(file, has_data ? &data : nullptr, planned(std::move(options))));
    return get(read_all(file));
  }
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

// What qemu-img calls the options.
std::string words_of(const CreateOptions& options) {
  std::string words = fmt::format("compat={},cluster_size={},refcount_bits={},preallocation={}",
                                  options.version == 2 ? "0.10" : "1.1", options.cluster_size,
                                  options.refcount_bits, to_string(options.preallocation));
  if (options.extended_l2) words += ",extended_l2=on";
  if (options.lazy_refcounts) words += ",lazy_refcounts=on";
  if (options.compression_type == CompressionType::zstd) words += ",compression_type=zstd";
  if (options.data_file) words += ",data_file=" + *options.data_file;
  if (options.data_file_raw) words += ",data_file_raw=on";
  if (options.backing_file) words += ",backing_file=" + *options.backing_file;
  if (options.backing_format) words += ",backing_fmt=" + *options.backing_format;
  return words;
}

Bytes contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

CreateOptions random_options(std::mt19937_64& random) {
  CreateOptions options;
  const auto one_in = [&](unsigned n) { return random() % n == 0; };
  options.version = one_in(5) ? 2 : 3;
  options.cluster_size = std::uint64_t{512} << random() % 10;
  options.size = one_in(8) ? 0 : random() % (options.cluster_size * (1 + random() % 4000));
  options.size = std::min(options.size, 12 * kMiB);
  options.preallocation = static_cast<Preallocation>(random() % 4);
  if (options.version == 2) return options;
  options.refcount_bits = std::uint64_t{1} << random() % 7;
  options.lazy_refcounts = one_in(4);
  options.extended_l2 = options.cluster_size >= 16384 && one_in(2);
  if (one_in(4)) options.compression_type = CompressionType::zstd;
  if (one_in(4)) {
    options.data_file = "data";
    options.data_file_raw = one_in(2);
  }
  const bool may_stand_on = options.extended_l2 || options.preallocation == off;
  if (may_stand_on && !options.data_file_raw && one_in(3)) {
    options.backing_file = "base";
    options.backing_format = "raw";
  }
  return options;
}

TEST_F(Qcow2Create, IsWhatQemuMakesByteForByte) {
  if (!test::have_program("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  std::mt19937_64 random(test::test_seed());
  for (int n = 0; n < 40; ++n) {
    const CreateOptions options = random_options(random);
    const test::TempDir folder;
    const std::string size = std::to_string(options.size);
    const auto made =
        test::run_command(test::Command{.argv = {"qemu-img", "create", "-q", "-u", "-f", "qcow2",
                                                 "-o", words_of(options), "image", size},
                                        .folder = folder.path()});
    ASSERT_TRUE(made.ok()) << words_of(options) << ": " << made.err;
    EXPECT_TRUE(make(options) == contents_of(folder / "image")) << words_of(options) << " " << size;
  }
}

// Read with nothing but the specification in mind: each cluster is used once and counted once.
class Reader {
 public:
  explicit Reader(const Bytes& bytes) : bytes_(bytes), header_(parse_header(bytes).value()) {
    use(0, header_.cluster_size());
    use(header_.l1_table_offset, header_.l1_size * sizeof(be64));
    use(header_.refcount_table_offset,
        std::uint64_t{header_.refcount_table_clusters} << header_.cluster_bits);
    for (std::uint64_t i = 0; i < header_.l1_size; ++i) read_l2(header_.l1_table_offset + i * 8);
    read_refcounts();
  }
  std::uint64_t mapped() const { return mapped_; }

 private:
  std::uint64_t at(std::uint64_t offset) const {
    be64 value = 0;
    if (offset + sizeof value <= bytes_.size()) {
      std::memcpy(&value, bytes_.data() + offset, sizeof value);
    }
    return value;
  }
  void use(std::uint64_t offset, std::uint64_t length) {
    if (length == 0) return;
    EXPECT_EQ(offset % header_.cluster_size(), 0U);
    for (std::uint64_t done = 0; done < length; done += header_.cluster_size()) {
      ++uses_[(offset + done) >> header_.cluster_bits];
    }
  }
  void read_l2(std::uint64_t l1_entry_at) {
    const L1Entry l1(at(l1_entry_at));
    if (l1.offset() == 0) return;
    EXPECT_TRUE(l1.copied());
    use(l1.offset(), header_.cluster_size());
    for (std::uint64_t i = 0; i < header_.cluster_size(); i += header_.l2_entry_size()) {
      const L2Entry entry(at(l1.offset() + i), 0);
      if (entry.raw() == 0) continue;
      ++mapped_;
      EXPECT_TRUE(entry.copied());
      if (!header_.has_data_file()) use(entry.offset(), header_.cluster_size());
    }
  }
  void read_refcounts() {
    const std::uint64_t entries = header_.refcount_table_clusters * header_.cluster_size() / 8;
    std::vector<std::uint64_t> blocks;
    for (std::uint64_t i = 0; i < entries; ++i) {
      blocks.push_back(at(header_.refcount_table_offset + i * 8));
      if (blocks.back() != 0) use(blocks.back(), header_.cluster_size());
    }
    const std::uint64_t per_block = header_.cluster_size() * 8 >> header_.refcount_order;
    std::uint64_t counted = 0;
    for (std::uint64_t i = 0; i < entries * per_block && i < bytes_.size(); ++i) {
      if (blocks[i / per_block] == 0) continue;
      const std::uint64_t bit = (i % per_block) << header_.refcount_order;
      const unsigned width = std::max(1U, (1U << header_.refcount_order) / 8);
      const auto last =
          std::to_integer<unsigned>(bytes_[blocks[i / per_block] + bit / 8 + width - 1]);
      const bool set = header_.refcount_order < 3 ? (last >> (bit % 8) & 1) != 0 : last == 1;
      counted += set;
      EXPECT_EQ(set, uses_.contains(i)) << "cluster " << i;
    }
    EXPECT_EQ(counted, uses_.size());
    for (const auto& [cluster, count] : uses_) EXPECT_EQ(count, 1U) << "cluster " << cluster;
  }

  const Bytes& bytes_;
  Header header_;
  std::map<std::uint64_t, unsigned> uses_;
  std::uint64_t mapped_ = 0;
};

TEST_F(Qcow2Create, EveryClusterIsUsedOnceAndCountedOnce) {
  std::mt19937_64 random(test::test_seed());
  for (int n = 0; n < 100; ++n) {
    CreateOptions options = random_options(random);
    options.size = std::min(options.size, 4 * kMiB);
    SCOPED_TRACE(words_of(options) + " " + std::to_string(options.size));
    const Reader reader(make(options));
    const std::uint64_t clusters =
        align_up(align_up(options.size, 512), options.cluster_size) / options.cluster_size;
    EXPECT_EQ(reader.mapped(), options.effective_preallocation() == off ? 0 : clusters);
    if (HasFailure()) break;
  }
}

TEST_F(Qcow2Create, APlanOfATebibyteIsQuickAndSmall) {
  const CreatePlan plan = planned({.size = kTiB, .preallocation = metadata});
  EXPECT_EQ(plan.layout.l2_tables.size(), 2048U);
  EXPECT_LE(plan.layout.data.size(), 2048U + 512U);
  EXPECT_EQ(plan.layout.used.runs_within(0, plan.layout.used.end()).size(), 1U);
}

TEST_F(Qcow2Create, WhatIsWrongIsKnownBeforeAFileIsTouched) {
  EXPECT_EQ(plan_image({.size = 8 * 1024 * kTiB}).error().kind(), ErrorKind::too_large);
  EXPECT_EQ(plan_image({.cluster_size = 3}).error().kind(), ErrorKind::invalid_argument);
  const CreateOptions long_name{
      .cluster_size = 512, .backing_file = std::string(400, 'n'), .backing_format = "raw"};
  EXPECT_EQ(plan_image(long_name).error().message(),
            "Could not assign backing file '" + std::string(400, 'n') +
                "' with format 'raw': No space left on device");
}

TEST_F(Qcow2Create, AFailureOfAnyOperationIsAnErrorAndInPlaceNoImage) {
  const CreateOptions cases[] = {
      {.size = kMiB, .in_place = true},
      {.size = kMiB, .preallocation = metadata, .in_place = true},
      {.size = kMiB, .preallocation = falloc, .in_place = true},
      {.size = kMiB + 512, .preallocation = full, .in_place = true},
      {.size = kMiB + 512, .preallocation = full, .data_file = "data", .in_place = true},
  };
  for (const CreateOptions& options : cases) {
    const CreatePlan image = planned(options);
    Bytes good;
    // Fails or not; whatever carries the magic afterwards is the whole image.
    const auto create = [&](FaultPlan& plan) {
      FaultyFile file(memory_file(Bytes(4096, std::byte{7})), plan);
      FaultyFile data(std::make_unique<MemoryFile>("data"), plan);
      const Result<void> done =
          ring_->run(create_qcow2(file, options.data_file ? &data : nullptr, image));
      const Bytes bytes = get(read_all(file.below()));
      if (good.empty()) good = bytes;
      if (header_area(bytes)) EXPECT_TRUE(bytes == good);
      if (!done) EXPECT_EQ(done.error().os_error(), ENOSPC) << done.error().message();
      return !done;
    };
    FaultPlan counting;
    ASSERT_FALSE(create(counting));
    for (std::uint64_t n = 0; n < counting.count(); ++n) {
      for (const Fault& fault : {Fault::fails(ENOSPC), Fault::ends_short(ENOSPC)}) {
        // The last write is one sector: no device does a part of it.
        if (n + 1 == counting.count() && fault.error == Fault::Error::midway) continue;
        FaultPlan plan;
        plan.at(n, fault);
        EXPECT_TRUE(create(plan)) << words_of(options) << ", operation " << n;
      }
    }
  }
}

TEST_F(Qcow2Create, InPlaceAPowerCutLeavesTheOldImageTheNewOneOrNone) {
  const Bytes old = make({.size = 3 * kMiB, .cluster_size = 4096, .preallocation = full});
  for (const Preallocation mode : {off, metadata}) {
    const CreateOptions options{
        .size = 2 * kMiB, .cluster_size = 4096, .preallocation = mode, .in_place = true};
    const Bytes wanted = make(options);
    Disk disk;
    disk.write(0, old);
    CrashFile file(disk, {.yields_max = 3, .seed = test::test_seed()});
    std::uint64_t images = 0;
    const auto check_state = [&](const CrashPlan& plan) {
      const Bytes bytes = file.crash_state(plan).bytes();
      if (!header_area(bytes)) return;
      ++images;
      EXPECT_TRUE(bytes == wanted || bytes == old) << to_string(plan);
    };
    const auto check_all = [&] {
      for (const CrashPlan& plan : file.systematic_plans()) check_state(plan);
      for (std::uint64_t n = 0; n < 30; ++n) check_state(CrashPlan::random(n));
    };
    file.before_flush(check_all);
    get(invalidate_image(file));
    get(file.truncate(0));
    get(create_qcow2(file, nullptr, planned(options)));
    check_all();
    EXPECT_GT(images, 2U);
  }
}

TEST_F(Qcow2Create, CancelledItEnds) {
  CancelToken cancel;
  cancel.request();
  MemoryFile file;
  const CreatePlan plan = planned({.size = kGiB, .preallocation = metadata, .cancel = &cancel});
  const Result<void> done = ring_->run(create_qcow2(file, nullptr, plan));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().kind(), ErrorKind::cancelled);
}

}  // namespace
}  // namespace platter::qcow2
