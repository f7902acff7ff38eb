#include "src/ops/copy_engine.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "src/ops/concat_image.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"

namespace platter::test {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kGarbageSeed = 99;

/// Extents of data with holes between them, some of the data all zeroes.
Bytes mixed_contents(std::size_t size, std::uint64_t seed) {
  Bytes bytes(size);
  std::mt19937_64 random(seed);
  for (std::size_t at = 0; at < size;) {
    const std::size_t length =
        std::min<std::size_t>(size - at, 512 * (1 + random() % (std::uint64_t{1} << random() % 9)));
    if (random() % 2 != 0) fill_random(std::span(bytes).subspan(at, length), random());
    at += length;
  }
  return bytes;
}

/// Says that it is on a device, so that the engine's larger pieces and alignment are in use.
class OnDevice final : public File {
 public:
  explicit OnDevice(std::unique_ptr<File> file, std::uint32_t alignment = 4096)
      : file_(std::move(file)) {
    traits_.request_alignment = alignment;
  }
  const std::string& name() const noexcept override { return file_->name(); }
  const FileTraits& traits() const noexcept override { return traits_; }
  Task<std::uint64_t> size() override { return file_->size(); }
  Task<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override {
    return file_->read(offset, into);
  }
  Task<void> write(std::uint64_t offset, std::span<const std::byte> bytes) override {
    return file_->write(offset, bytes);
  }
  Task<void> flush() override { return file_->flush(); }
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override {
    return file_->write_zeroes(offset, length, mode);
  }
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override {
    return file_->discard(offset, length);
  }
  Task<void> truncate(std::uint64_t size) override { return file_->truncate(size); }
  Task<void> allocate(std::uint64_t offset, std::uint64_t length) override {
    return file_->allocate(offset, length);
  }
  Task<std::vector<Extent>> extents(std::uint64_t offset, std::uint64_t length,
                                    std::size_t count_max) override {
    return file_->extents(offset, length, count_max);
  }
  Task<void> close() override { return file_->close(); }

 private:
  std::unique_ptr<File> file_;
  FileTraits traits_;
};

class CopyEngine : public testing::Test {
 protected:
  std::unique_ptr<RawImage> image(std::unique_ptr<File> file, const std::string& name = "image") {
    return ring_->run(RawImage::open(std::move(file), name)).value();
  }
  std::unique_ptr<RawImage> image_of(Bytes bytes, const std::string& name = "image") {
    return image(memory_file(std::move(bytes), name), name);
  }
  std::unique_ptr<RawImage> garbage(std::size_t size) {
    return image_of(random_bytes(size, kGarbageSeed), "target");
  }
  std::unique_ptr<RawImage> empty(std::size_t size) {
    return image(std::make_unique<MemoryFile>("target", size), "target");
  }
  std::unique_ptr<RawImage> faulty(Bytes bytes, FaultPlan& plan, const std::string& name) {
    return image(std::make_unique<FaultyFile>(memory_file(std::move(bytes), name), plan), name);
  }

  Bytes contents(Image& image) { return ring_->run(guest_bytes(image)).value(); }
  static std::uint64_t allocated(RawImage& image) {
    return dynamic_cast<MemoryFile&>(image.file()).allocated();
  }
  Result<CopyStats> try_copy(Image& source, Image& target, CopyOptions options = {}) {
    Result<CopyStats> result = ring_->run(copy_image(source, target, std::move(options)));
    EXPECT_EQ(ring_->in_flight(), 0U);
    EXPECT_EQ(ring_->buffers().in_use(), 0U);
    return result;
  }
  CopyStats copy(Image& source, Image& target, CopyOptions options = {}) {
    Result<CopyStats> result = try_copy(source, target, std::move(options));
    if (!result) ADD_FAILURE() << result.error().message();
    return result ? *result : CopyStats();
  }
  template <class T>
  T get(Task<T> task) {
    return ring_->run(std::move(task)).value();
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(CopyEngine, AnEmptyImageIsCopiedAtOnce) {
  const auto source = empty(0);
  const auto target = empty(0);
  const CopyStats stats = copy(*source, *target);
  EXPECT_EQ(stats.read + stats.written + stats.zeroed + stats.skipped, 0U);
}

TEST_F(CopyEngine, TheTargetBecomesEqualWhateverItHeld) {
  for (const std::size_t size : {std::size_t{512}, std::size_t{4096}, std::size_t{1} << 20,
                                 (std::size_t{3} << 20) + 512, (std::size_t{5} << 20) + 3584}) {
    const Bytes bytes = mixed_contents(size, size);
    const auto source = image_of(bytes);
    const auto target = garbage(size);
    const CopyStats stats = copy(*source, *target);
    EXPECT_TRUE(contents(*target) == bytes) << size;
    EXPECT_EQ(stats.skipped, 0U);
    EXPECT_EQ(stats.written + stats.zeroed, size);
  }
}

TEST_F(CopyEngine, WhatLiesPastTheSourcesEndStays) {
  const auto source = image_of(Bytes(kMiB));
  const auto target = garbage(2 * kMiB);
  copy(*source, *target);
  Bytes expected = random_bytes(2 * kMiB, kGarbageSeed);
  std::fill_n(expected.begin(), kMiB, std::byte{0});
  EXPECT_TRUE(contents(*target) == expected);
}

TEST_F(CopyEngine, AnOddSourceIsPaddedWithZeroes) {
  Bytes bytes = random_bytes(100'001, 1);
  const auto source = image_of(bytes);
  const auto target = garbage(align_up(bytes.size(), 512));
  copy(*source, *target);
  bytes.resize(align_up(bytes.size(), 512));
  EXPECT_TRUE(contents(*target) == bytes);
}

TEST_F(CopyEngine, HolesAndZeroesStayHolesInAnEmptyTarget) {
  Bytes bytes(16 * kMiB);
  fill_random(std::span(bytes).subspan(4 * kMiB, kMiB), 1);
  const auto source = image_of(bytes);  // all of it allocated
  const auto target = empty(bytes.size());
  const CopyStats stats = copy(*source, *target, {.target_is_zero = true});
  EXPECT_TRUE(contents(*target) == bytes);
  EXPECT_EQ(allocated(*target), kMiB);
  EXPECT_EQ(stats.written, kMiB);
  EXPECT_EQ(stats.zeroed, 0U);
  EXPECT_EQ(stats.skipped, 15 * kMiB);
}

TEST_F(CopyEngine, HolesOfTheSourceAreNotRead) {
  auto file = std::make_unique<MemoryFile>("source", std::uint64_t{1} << 40);
  const Bytes bytes = random_bytes(64 * kKiB, 1);
  get(file->write(std::uint64_t{1} << 39, bytes));
  const auto source = image(std::move(file));
  const auto target = empty(std::size_t{1} << 40);
  const CopyStats stats = copy(*source, *target, {.target_is_zero = true});
  EXPECT_EQ(stats.read, 64 * kKiB);
  EXPECT_EQ(stats.written, 64 * kKiB);
}

TEST_F(CopyEngine, ASevenExbibyteHoleIsCopiedQuickly) {
  const std::uint64_t size = std::uint64_t{7} << 60;
  const auto source = image(std::make_unique<MemoryFile>("source", size));
  const auto target = image(std::make_unique<MemoryFile>("target", size));
  const CopyStats stats = copy(*source, *target, {.target_is_zero = true});
  EXPECT_EQ(stats.skipped, size);
  EXPECT_EQ(copy(*source, *target).zeroed, size);
}

TEST_F(CopyEngine, ZeroesOfTheSparseSizeAreLeftOut) {
  Bytes bytes = random_bytes(kMiB, 1);
  std::fill_n(bytes.begin() + 64 * 1024, 32 * 1024, std::byte{0});
  for (const std::uint64_t sparse : {512, 4096, 32 * 1024}) {
    const auto source = image_of(bytes);
    const auto target = empty(bytes.size());
    const CopyStats stats = copy(*source, *target, {.sparse_size = sparse, .target_is_zero = true});
    EXPECT_EQ(stats.skipped, 32 * kKiB) << sparse;
    EXPECT_TRUE(contents(*target) == bytes);
  }
  const auto source = image_of(bytes);
  const auto target = empty(bytes.size());
  const CopyStats stats =
      copy(*source, *target, {.sparse_size = 64 * kKiB, .target_is_zero = true});
  EXPECT_EQ(stats.skipped, 0U) << "a run shorter than the sparse size";
}

TEST_F(CopyEngine, SparseSizesThatAreNoPowersOfTwoWorkToo) {
  const Bytes bytes = mixed_contents(2 * kMiB, 3);
  for (const std::uint64_t sparse : {1536, 5 * 512, 999 * 512, 16 << 20}) {
    const auto source = image_of(bytes);
    const auto target = garbage(bytes.size());
    copy(*source, *target, {.sparse_size = sparse});
    EXPECT_TRUE(contents(*target) == bytes) << sparse;
  }
}

TEST_F(CopyEngine, EverythingIsWrittenWithoutASparseSize) {
  const auto source = empty(4 * kMiB);
  const auto target = empty(4 * kMiB);
  const CopyStats stats = copy(*source, *target, {.sparse_size = 0, .target_is_zero = true});
  EXPECT_EQ(stats.written, 4 * kMiB);
  EXPECT_EQ(allocated(*target), 4 * kMiB);
}

TEST_F(CopyEngine, AnyNumberOfPiecesInFlightGivesTheSame) {
  const Bytes bytes = mixed_contents(6 * kMiB, 7);
  for (unsigned parallel = 1; parallel <= 16; ++parallel) {
    FaultPlan delays;
    delays.sometimes(0.5, parallel, Fault::waits(3)).sometimes(0.2, 1, Fault::waits(20));
    const auto source = faulty(bytes, delays, "source");
    const auto target = faulty(random_bytes(bytes.size(), kGarbageSeed), delays, "target");
    copy(*source, *target, {.parallel = parallel});
    EXPECT_TRUE(contents(*target) == bytes) << parallel;
  }
}

// A file on which the reads and writes of the first piece take longest.
TEST_F(CopyEngine, PiecesMayFinishInAnyOrder) {
  const Bytes bytes = random_bytes(8 * kMiB, 7);
  FaultPlan slow;
  slow.at(FileOperation::read, 0, Fault::sleeps(std::chrono::milliseconds(20)))
      .at(FileOperation::write, 1, Fault::sleeps(std::chrono::milliseconds(10)));
  const auto source = faulty(bytes, slow, "source");
  const auto target = faulty(Bytes(bytes.size()), slow, "target");
  std::vector<double> seen;
  Progress progress([&](const Progress& now) { seen.push_back(now.percent()); });
  copy(*source, *target, {.progress = &progress});
  EXPECT_TRUE(contents(*target) == bytes);
  EXPECT_TRUE(std::ranges::is_sorted(seen));
}

TEST_F(CopyEngine, ProgressEndsAtOneHundredPercent) {
  for (const bool target_is_zero : {false, true}) {
    for (const std::uint64_t sparse : {0, 4096}) {
      const auto source = image_of(mixed_contents(5 * kMiB + 512, 2));
      const auto target = empty(5 * kMiB + 512);
      double last = -1;
      Progress progress([&](const Progress& now) {
        EXPECT_GE(now.percent(), last);
        last = now.percent();
      });
      copy(*source, *target,
           {.sparse_size = sparse, .target_is_zero = target_is_zero, .progress = &progress});
      EXPECT_EQ(progress.done(), progress.total());
      EXPECT_DOUBLE_EQ(last, 100);
    }
  }
}

TEST_F(CopyEngine, ProgressThatNobodyWatchesTellsThePlace) {
  RunImage source(memory_file(Bytes(kMiB)));
  source.add(MappingKind::data, kMiB);
  const auto target = empty(kMiB);
  Progress progress;
  copy(source, *target, {.progress = &progress});
  EXPECT_EQ(source.maps(), 1U) << "counting takes a walk over the whole image";
  EXPECT_EQ(progress.total(), kMiB);
  EXPECT_EQ(progress.done(), kMiB);
}

TEST_F(CopyEngine, TheRateStaysBelowItsLimit) {
  const Bytes bytes = random_bytes(2 * kMiB, 1);
  const auto source = image_of(bytes);
  const auto target = empty(bytes.size());
  const auto start = std::chrono::steady_clock::now();
  copy(*source, *target, {.rate_limit = 20 * kMiB});
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_GE(elapsed.count(), 0.095);
  EXPECT_TRUE(contents(*target) == bytes);
}

TEST_F(CopyEngine, CancellationDoesNotWaitForTheRate) {
  const auto source = image_of(random_bytes(2 * kMiB, 1));
  const auto target = empty(2 * kMiB);
  CancelToken cancel;
  const auto cancel_soon = [&]() -> Task<void> {
    co_await Ring::current().sleep(std::chrono::milliseconds(10));
    cancel.request();
  };
  const auto both = [&](TaskGroup& group) -> Task<void> {
    co_await group.spawn(cancel_soon());
    co_await copy_image(*source, *target, {.rate_limit = 1, .cancel = &cancel});
  };
  const auto start = std::chrono::steady_clock::now();
  const Result<void> result = ring_->run(with_group(2, both));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind(), ErrorKind::cancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

TEST_F(CopyEngine, ConcatenatedSourcesFollowEachOther) {
  Bytes all;
  std::vector<std::unique_ptr<Image>> parts;
  for (const std::size_t size : {std::size_t{512}, std::size_t{100'000}, std::size_t{0},
                                 (std::size_t{2} << 20) + 1536, std::size_t{3} << 20}) {
    Bytes bytes = mixed_contents(size, size);
    parts.push_back(image_of(bytes));
    bytes.resize(align_up(bytes.size(), 512));
    all.insert(all.end(), bytes.begin(), bytes.end());
  }
  const std::unique_ptr<Image> source = ConcatImage::make(std::move(parts)).value();
  EXPECT_EQ(source->virtual_size(), all.size());
  EXPECT_TRUE(contents(*source) == all);
  const auto target = garbage(all.size());
  copy(*source, *target);
  EXPECT_TRUE(contents(*target) == all);
  get(source->close());
}

TEST_F(CopyEngine, SourcesThatAreTooLargeTogetherAreRefused) {
  std::vector<std::unique_ptr<Image>> parts;
  for (int i = 0; i < 2; ++i) {
    parts.push_back(image(std::make_unique<MemoryFile>("half", std::uint64_t{1} << 62)));
  }
  const auto made = ConcatImage::make(std::move(parts));
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind(), ErrorKind::too_large);
}

TEST_F(CopyEngine, WithoutTheKernelsHelpDataMovesThroughMemory) {
  const Bytes bytes = mixed_contents(3 * kMiB, 4);
  const auto source = image_of(bytes);
  const auto target = garbage(bytes.size());
  const CopyStats stats = copy(*source, *target, {.offload_copy = true});
  EXPECT_TRUE(contents(*target) == bytes);
  EXPECT_GT(stats.read, 0U);
}

/// Runs of every kind, in two files; and what a guest sees of them.
struct Source {
  std::unique_ptr<RunImage> image;
  Bytes bytes;
};

Source random_runs(std::uint64_t seed, FaultPlan* plan = nullptr) {
  std::mt19937_64 random(seed);
  constexpr std::size_t kFileSize = 2 * kMiB;
  const Bytes files[2] = {random_bytes(kFileSize, seed + 1), mixed_contents(kFileSize, seed + 2)};
  const auto wrap = [&](std::size_t n) -> std::unique_ptr<File> {
    auto file = memory_file(files[n], n == 0 ? "first" : "second");
    if (plan == nullptr) return file;
    return std::make_unique<FaultyFile>(std::move(file), *plan);
  };
  Source source;
  source.image = std::make_unique<RunImage>(wrap(0), wrap(1));
  source.image->set_batch(1 + random() % 7);
  const std::uint64_t granularity = random() % 2 != 0 ? 512 : 1;
  while (source.bytes.size() < kMiB) {
    const std::uint64_t length = granularity * (1 + random() % (std::uint64_t{1} << random() % 15));
    if (length > kMiB) continue;
    const auto kind = static_cast<MappingKind>(random() % 4);
    const std::size_t n = kind == MappingKind::data ? random() % 2 : 0;
    const std::uint64_t at = random() % (kFileSize - length) / granularity * granularity;
    source.image->add(kind, length, n, at);
    Bytes run(length);
    if (kind == MappingKind::data || kind == MappingKind::compressed) {
      std::copy_n(files[n].begin() + static_cast<std::ptrdiff_t>(at), length, run.begin());
    }
    if (kind == MappingKind::compressed) {
      for (std::byte& byte : run) byte = ~byte;
    }
    source.bytes.insert(source.bytes.end(), run.begin(), run.end());
  }
  const std::size_t padding = align_up(source.bytes.size(), 512) - source.bytes.size();
  if (padding > 0) source.image->add(MappingKind::zero, padding);
  source.bytes.resize(source.bytes.size() + padding);
  return source;
}

TEST_F(CopyEngine, CopiesRunsOfEveryKindFromSeveralFiles) {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t round = 0; round < 40; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const Source source = random_runs(seed + round);
    EXPECT_TRUE(contents(*source.image) == source.bytes);
    const auto target = garbage(source.bytes.size());
    CopyOptions options{.sparse_size = round % 3 == 0 ? 0U : 512U << round % 5};
    options.offload_copy = round % 4 == 0;
    copy(*source.image, *target, options);
    ASSERT_TRUE(contents(*target) == source.bytes);
  }
}

TEST_F(CopyEngine, CopiesIntoATargetThatAllocates) {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t round = 0; round < 40; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    FaultPlan delays;
    delays.sometimes(0.4, seed + round, Fault::waits(2));
    const Source source = random_runs(seed + round, &delays);
    const std::uint64_t cluster = 4096U << round % 6;
    const auto file = [&](const char* name) {
      return std::make_unique<FaultyFile>(
          std::make_unique<MemoryFile>(name, align_up(source.bytes.size(), cluster)), delays);
    };
    ClusterImage target(file("one"), file("two"), source.bytes.size(), cluster);
    copy(*source.image, target, {.target_is_zero = round % 2 == 0});
    ASSERT_TRUE(contents(target) == source.bytes);
  }
}

/// Faults at each operation in turn, on both sides.
enum class Side : std::uint8_t { source, target };
struct FaultCase {
  Side side;
  Fault fault;
  const char* name;
};
void PrintTo(const FaultCase& fault_case, std::ostream* out) { *out << fault_case.name; }

class CopyEngineFaults : public CopyEngine, public testing::WithParamInterface<FaultCase> {
 protected:
  /// Tells in `faults` how many there were until the copy ended.
  Result<CopyStats> copy_with(FaultPlan& plan, std::uint64_t& faults) {
    FaultPlan none;
    const bool at_source = GetParam().side == Side::source;
    Bytes bytes = mixed_contents(kMiB + 512, 5);
    std::fill_n(bytes.begin(), 300'000, std::byte{0});
    const auto source = faulty(bytes, at_source ? plan : none, "source");
    const auto target =
        faulty(random_bytes(bytes.size(), kGarbageSeed), at_source ? none : plan, "target");
    Result<CopyStats> copied = try_copy(*source, *target, {.parallel = 3});
    operations_ = plan.count();
    faults = plan.faults();
    plan.clear();
    if (copied) {
      EXPECT_TRUE(contents(*target) == bytes);
    }
    return copied;
  }

  std::uint64_t operations_ = 0;
};

TEST_P(CopyEngineFaults, EndTheCopyAndAreReportedWithTheirPlace) {
  FaultPlan counting;
  std::uint64_t faults = 0;
  ASSERT_TRUE(copy_with(counting, faults));
  const std::uint64_t count = operations_;
  ASSERT_GT(count, 3U);
  const std::string name = GetParam().side == Side::source ? "'source'" : "'target'";
  for (std::uint64_t n = 0; n < count; ++n) {
    SCOPED_TRACE("operation " + std::to_string(n));
    FaultPlan plan;
    plan.at(n, GetParam().fault);
    const Result<CopyStats> copied = copy_with(plan, faults);
    ASSERT_EQ(faults, 1U);
    ASSERT_FALSE(copied);
    EXPECT_EQ(copied.error().os_error(), GetParam().fault.os_error);
    EXPECT_NE(copied.error().message().find(name), std::string::npos) << copied.error().message();
    EXPECT_TRUE(copied.error().offset());
  }
}

INSTANTIATE_TEST_SUITE_P(
    EachOperation, CopyEngineFaults,
    testing::Values(FaultCase{Side::source, Fault::fails(), "SourceFails"},
                    FaultCase{Side::source, Fault::ends_short(), "SourceEndsShort"},
                    FaultCase{Side::source, {.os_error = EIO, .yields = 50}, "SourceFailsLate"},
                    FaultCase{Side::target, Fault::fails(ENOSPC), "TargetIsFull"},
                    FaultCase{Side::target, Fault::ends_short(ENOSPC), "TargetEndsShort"},
                    FaultCase{Side::target, Fault::fails_late(EIO), "TargetWritesAndFails"},
                    FaultCase{Side::target, {.os_error = EIO, .yields = 50}, "TargetFailsLate"}),
    [](const testing::TestParamInfo<FaultCase>& info) { return std::string(info.param.name); });

TEST_F(CopyEngine, ADeviceThatGoesAwayEndsTheCopySoon) {
  FaultPlan gone;
  gone.from(10, Fault::fails(ENODEV));
  const auto source = faulty(random_bytes(32 * kMiB, 1), gone, "source");
  const auto target = empty(32 * kMiB);
  const Result<CopyStats> copied = try_copy(*source, *target);
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().os_error(), ENODEV);
  EXPECT_LT(gone.faults(), 20U);
}

// Progress tells of every step: asking to stop at each of them covers all moments.
TEST_F(CopyEngine, CanBeCancelledAtEveryStep) {
  const Bytes bytes = mixed_contents(3 * kMiB, 6);
  for (std::uint64_t n = 0; n < 1000; ++n) {
    FaultPlan delays;
    delays.sometimes(0.5, n, Fault::waits(2));
    const auto source = faulty(bytes, delays, "source");
    const auto target = faulty(random_bytes(bytes.size(), kGarbageSeed), delays, "target");
    CancelToken cancel;
    std::uint64_t told = 0;
    Progress progress([&](const Progress&) {
      if (told++ == n) cancel.request();
    });
    const Result<CopyStats> copied =
        try_copy(*source, *target, {.parallel = 2, .cancel = &cancel, .progress = &progress});
    if (told <= n) {
      EXPECT_TRUE(copied);
      EXPECT_GT(n, 5U);
      return;
    }
    if (copied) {
      EXPECT_TRUE(contents(*target) == bytes);  // too late: all was on its way
    } else {
      EXPECT_EQ(copied.error().kind(), ErrorKind::cancelled);
    }
  }
  FAIL() << "the copy never ends";
}

TEST_F(CopyEngine, CancelledBeforehandNothingIsTouched) {
  CancelToken cancel;
  cancel.request();
  const auto source = image_of(random_bytes(kMiB, 1));
  const auto target = garbage(kMiB);
  const Result<CopyStats> copied = try_copy(*source, *target, {.cancel = &cancel});
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().kind(), ErrorKind::cancelled);
  EXPECT_TRUE(contents(*target) == random_bytes(kMiB, kGarbageSeed));
}

/// Blocks that can't be read, as a damaged disk has them.
class BadBlocks final : public Image {
 public:
  BadBlocks(std::unique_ptr<RawImage> image, std::vector<std::uint64_t> bad)
      : image_(std::move(image)), bad_(std::move(bad)) {}
  const std::string& filename() const noexcept override { return image_->filename(); }
  std::string_view format() const noexcept override { return "raw"; }
  std::uint64_t virtual_size() const noexcept override { return image_->virtual_size(); }
  bool read_only() const noexcept override { return true; }
  File& file() noexcept override { return image_->file(); }
  Task<ImageInfo> info() override { return image_->info(); }
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length,
                                 std::size_t count_max) override {
    auto mappings = co_await image_->map(offset, length, count_max);
    for (Mapping& mapping : mappings) mapping.kind = MappingKind::compressed;
    co_return mappings;
  }
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override {
    for (const std::uint64_t block : bad_) {
      const bool hit = offset < block + 512 && block < offset + into.size();
      if (hit) co_await fail_errno(EIO, "read", filename(), block);
    }
    co_await image_->read(offset, into);
  }
  Task<WritePlace> prepare_write(std::uint64_t offset, std::uint64_t length) override {
    return image_->prepare_write(offset, length);
  }
  Task<void> commit_write(const WritePlace& place) override { return image_->commit_write(place); }
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) override {
    return image_->write_zeroes(offset, length, mode);
  }
  Task<void> discard(std::uint64_t offset, std::uint64_t length) override {
    return image_->discard(offset, length);
  }
  Task<void> resize(std::uint64_t size, ResizeOptions options) override {
    return image_->resize(size, options);
  }
  Task<void> flush() override { return image_->flush(); }
  Task<void> close() override { return image_->close(); }

 private:
  std::unique_ptr<RawImage> image_;
  std::vector<std::uint64_t> bad_;
};

TEST_F(CopyEngine, SalvagingKeepsAllThatCanBeRead) {
  Bytes bytes = random_bytes(2 * kMiB, 8);
  const std::vector<std::uint64_t> bad = {0, 512, 700'416, 2 * kMiB - 512};
  BadBlocks source(image_of(bytes), bad);
  const auto target = garbage(bytes.size());
  std::vector<std::uint64_t> told;
  CopyOptions options{.salvage = true};
  options.on_salvage = [&](const Error& error) { told.push_back(error.offset().value()); };
  copy(source, *target, options);
  for (const std::uint64_t at : bad) {
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), 512, std::byte{0});
  }
  EXPECT_TRUE(contents(*target) == bytes);
  std::ranges::sort(told);
  EXPECT_EQ(told, bad);
}

TEST_F(CopyEngine, WithoutSalvagingABadBlockEndsTheCopy) {
  BadBlocks source(image_of(random_bytes(kMiB, 8)), {4096});
  const auto target = garbage(kMiB);
  EXPECT_FALSE(try_copy(source, *target));
}

TEST_F(CopyEngine, ASourceThatWasCutIsNotSalvaged) {
  auto file = memory_file(random_bytes(2 * kMiB, 1), "source");
  MemoryFile& below = *file;
  const auto source = image(std::move(file));
  const auto target = garbage(2 * kMiB);
  get(below.truncate(kMiB + 700));
  for (const bool salvage : {false, true}) {
    const Result<CopyStats> copied = try_copy(*source, *target, {.salvage = salvage});
    ASSERT_FALSE(copied);
    EXPECT_EQ(copied.error().kind(), ErrorKind::file_changed);
  }
}

TEST_F(CopyEngine, MemoryStaysBoundedByThePiecesInFlight) {
  const Bytes bytes = random_bytes(24 * kMiB, 1);
  for (const unsigned parallel : {1U, 4U, 0U}) {
    ring_.reset();
    ring_ = Ring::create().value();
    FaultPlan delays;
    delays.sometimes(1, 1, Fault::waits(50));
    const auto on_device = [&](Bytes held) {
      return image(std::make_unique<OnDevice>(
          std::make_unique<FaultyFile>(memory_file(std::move(held)), delays)));
    };
    const auto source = on_device(bytes);
    const auto target = on_device(Bytes(bytes.size()));
    copy(*source, *target, {.parallel = parallel});
    EXPECT_TRUE(contents(*target) == bytes);
    EXPECT_EQ(ring_->buffers().peak(), (parallel != 0 ? parallel : 16) * kMiB);
  }
}

TEST_F(CopyEngine, CopiesBetweenFilesOfDifferentAlignments) {
  const Bytes bytes = mixed_contents(3 * kMiB + 512, 11);
  for (const std::uint32_t from : {1U, 512U, 4096U, 65536U}) {
    for (const std::uint32_t to : {512U, 4096U}) {
      const auto source = image(std::make_unique<OnDevice>(memory_file(bytes), from));
      const auto target = image(
          std::make_unique<OnDevice>(memory_file(random_bytes(bytes.size(), kGarbageSeed)), to));
      copy(*source, *target);
      EXPECT_TRUE(contents(*target) == bytes) << from << " to " << to;
    }
  }
}

}  // namespace
}  // namespace platter::test
