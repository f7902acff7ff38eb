#include "src/ops/compare.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"
#include "tests/support/random_ops.h"

namespace platter {

void PrintTo(const CompareResult& result, std::ostream* out) {
  constexpr const char* kNames[] = {"identical", "size", "status", "content"};
  *out << kNames[static_cast<int>(result.outcome)] << " at " << result.offset;
}
bool operator==(const CompareResult& a, const CompareResult& b) {
  return a.outcome == b.outcome && (a.outcome == CompareOutcome::identical || a.offset == b.offset);
}

namespace test {
namespace {

using enum CompareOutcome;
using Bytes = std::vector<std::byte>;

class CompareImages : public testing::Test {
 protected:
  std::unique_ptr<RawImage> image(std::unique_ptr<File> file) {
    return ring_->run(RawImage::open(std::move(file), "image")).value();
  }
  std::unique_ptr<RawImage> image_of(Bytes bytes) { return image(memory_file(std::move(bytes))); }
  std::unique_ptr<RawImage> faulty(Bytes bytes, FaultPlan& plan) {
    return image(std::make_unique<FaultyFile>(memory_file(std::move(bytes), "file"), plan));
  }
  std::unique_ptr<RawImage> hole(std::uint64_t size) {
    return image(std::make_unique<MemoryFile>("hole", size));
  }

  Result<CompareResult> try_compare(Image& a, Image& b, CompareOptions options = {}) {
    Result<CompareResult> result = ring_->run(compare_images(a, b, std::move(options)));
    EXPECT_EQ(ring_->buffers().in_use(), 0U);
    return result;
  }
  /// The same both ways round.
  CompareResult compare(Image& a, Image& b, const CompareOptions& options = {}) {
    const Result<CompareResult> one = try_compare(a, b, options);
    const Result<CompareResult> other = try_compare(b, a, options);
    EXPECT_TRUE(one) << one.error().message();
    EXPECT_EQ(*one, *other);
    return *one;
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

TEST_F(CompareImages, EqualContentsAreIdentical) {
  const Bytes bytes = random_bytes(3 * kMiB + 512, 1);
  const auto a = image_of(bytes);
  const auto b = image_of(bytes);
  EXPECT_EQ(compare(*a, *b).outcome, identical);
  EXPECT_EQ(compare(*a, *b, {.strict = true}).outcome, identical);
}

TEST_F(CompareImages, EmptyImagesAreIdentical) {
  const auto a = image_of({});
  const auto b = image_of({});
  EXPECT_EQ(compare(*a, *b, {.strict = true}).outcome, identical);
}

TEST_F(CompareImages, AHoleEqualsWrittenZeroesUnlessStrict) {
  const auto zeroes = image_of(Bytes(2 * kMiB));
  const auto holes = hole(2 * kMiB);
  EXPECT_EQ(compare(*zeroes, *holes).outcome, identical);
  EXPECT_EQ(compare(*zeroes, *holes, {.strict = true}), (CompareResult{status_mismatch, 0}));
}

TEST_F(CompareImages, TheSectorOfTheFirstDifferenceIsTold) {
  const Bytes bytes = random_bytes(3 * kMiB, 1);
  const auto a = image_of(bytes);
  for (const std::size_t at : {std::size_t{0}, std::size_t{511}, std::size_t{512},
                               std::size_t{524'287}, std::size_t{524'288}, 3 * kMiB - 1}) {
    Bytes changed = bytes;
    changed[at] ^= std::byte{1};
    changed.back() ^= std::byte{2};
    const auto b = image_of(changed);
    EXPECT_EQ(compare(*a, *b), (CompareResult{content_mismatch, align_down(at, 512)}));
  }
}

TEST_F(CompareImages, DataDiffersFromAHoleAtItsFirstByteThatIsNotZero) {
  Bytes bytes(2 * kMiB);
  bytes[kMiB + 700] = std::byte{1};
  const auto a = image_of(bytes);
  const auto b = hole(2 * kMiB);
  EXPECT_EQ(compare(*a, *b), (CompareResult{content_mismatch, kMiB + 512}));
}

// The piece with the first difference is read last.
TEST_F(CompareImages, AnEarlierDifferenceWinsThoughALaterOneIsFoundFirst) {
  const Bytes bytes = random_bytes(8 * kMiB, 1);
  Bytes changed = bytes;
  for (const std::uint64_t at : {kMiB + 5, 3 * kMiB, 5 * kMiB}) changed[at] ^= std::byte{1};
  for (std::uint64_t n = 0; n < 16; ++n) {
    FaultPlan slow;
    slow.at(FileOperation::read, n, Fault::waits(200));
    const auto a = faulty(bytes, slow);
    const auto b = image_of(changed);
    EXPECT_EQ(*try_compare(*a, *b), (CompareResult{content_mismatch, kMiB})) << n;
  }
}

TEST_F(CompareImages, AnEarlierContentDifferenceWinsOverALaterStatus) {
  FaultPlan slow;
  slow.at(FileOperation::read, 0, Fault::waits(100));
  auto below = std::make_unique<MemoryFile>("a", 2 * kMiB);
  const Bytes first = random_bytes(kMiB, 1);
  ASSERT_TRUE(ring_->run(below->write(0, first)));
  const auto a = image(std::make_unique<FaultyFile>(std::move(below), slow));
  const auto b = image_of(random_bytes(2 * kMiB, 2));
  EXPECT_EQ(*try_compare(*a, *b, {.strict = true}), (CompareResult{content_mismatch, 0}));
  EXPECT_EQ(compare(*a, *b, {.strict = true}), (CompareResult{content_mismatch, 0}));
}

TEST_F(CompareImages, MappingsMayBeginWithinASector) {
  Bytes bytes = random_bytes(100 * kKiB, 3);
  RunImage runs(memory_file(bytes));
  runs.add(MappingKind::data, 700, 0, 0);
  runs.add(MappingKind::compressed, 5000, 0, 700);
  runs.add(MappingKind::data, bytes.size() - 5700, 0, 5700);
  for (std::size_t i = 700; i < 5700; ++i) bytes[i] = ~bytes[i];
  const auto same = image_of(bytes);
  EXPECT_EQ(compare(runs, *same).outcome, identical);
  for (const std::size_t at : {std::size_t{699}, std::size_t{700}, std::size_t{1100},
                               std::size_t{5700}, std::size_t{6000}, std::size_t{6150}}) {
    Bytes changed = bytes;
    changed[at] ^= std::byte{1};
    const auto other = image_of(changed);
    EXPECT_EQ(compare(runs, *other), (CompareResult{content_mismatch, align_down(at, 512)})) << at;
  }
}

TEST_F(CompareImages, ZeroesWithinASectorAreComparedByBytes) {
  Bytes bytes(100 * kKiB);
  fill_random(std::span(bytes).first(700), 1);
  RunImage runs(memory_file(bytes));
  runs.add(MappingKind::data, 700, 0, 0);
  runs.add(MappingKind::unallocated, bytes.size() - 700);
  for (const std::size_t at : {std::size_t{700}, std::size_t{1023}, std::size_t{1024},
                               std::size_t{1100}, std::size_t{1211}, std::size_t{50'000}}) {
    Bytes changed = bytes;
    changed[at] = std::byte{1};
    const auto other = image_of(changed);
    EXPECT_EQ(compare(runs, *other), (CompareResult{content_mismatch, align_down(at, 512)})) << at;
  }
}

TEST_F(CompareImages, AgreesWithAPlainComparison) {
  const std::uint64_t seed = test_seed();
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    const std::size_t size = 512 * (1 + random() % 3000);
    Bytes bytes(size);
    fill_random(std::span(bytes).subspan(random() % size), random());
    Bytes changed = bytes;
    for (std::uint64_t left = random() % 3; left > 0; --left) {
      changed[random() % size] ^= std::byte{static_cast<unsigned char>(1 + random() % 255)};
    }
    FaultPlan delays;
    delays.sometimes(0.5, random(), Fault::waits(4));
    const auto a = faulty(bytes, delays);
    const auto b = faulty(changed, delays);
    const auto at =
        std::mismatch(bytes.begin(), bytes.end(), changed.begin()).first - bytes.begin();
    const CompareResult expected =
        bytes == changed
            ? CompareResult{}
            : CompareResult{content_mismatch, align_down(static_cast<std::uint64_t>(at), 512)};
    ASSERT_EQ(compare(*a, *b), expected) << "round " << round;
  }
}

TEST_F(CompareImages, ALongerImageMayGoOnWithZeroes) {
  const Bytes bytes = random_bytes(kMiB, 1);
  Bytes longer = bytes;
  longer.resize(2 * kMiB);
  const auto a = image_of(bytes);
  const auto b = image_of(longer);
  int told = 0;
  CompareOptions options;
  options.on_size_mismatch = [&] { ++told; };
  EXPECT_EQ(compare(*a, *b, options).outcome, identical);
  EXPECT_EQ(told, 2);  // once each way
  longer[kMiB + 600] = std::byte{1};
  const auto c = image_of(longer);
  EXPECT_EQ(compare(*a, *c, options), (CompareResult{content_mismatch, kMiB + 512}));
}

TEST_F(CompareImages, ADifferenceInTheCommonPartComesBeforeTheSize) {
  const auto a = image_of(random_bytes(kMiB, 1));
  const auto b = image_of(random_bytes(2 * kMiB, 2));
  CompareOptions options;
  options.on_size_mismatch = [] { ADD_FAILURE() << "told of the size"; };
  EXPECT_EQ(compare(*a, *b, options), (CompareResult{content_mismatch, 0}));
}

TEST_F(CompareImages, StrictlyTheSizesComeFirst) {
  const auto a = image_of(random_bytes(kMiB, 1));
  const auto b = image_of(random_bytes(2 * kMiB, 2));
  EXPECT_EQ(compare(*a, *b, {.strict = true}), (CompareResult{size_mismatch, 0}));
}

TEST_F(CompareImages, OddSizesArePaddedWithZeroes) {
  Bytes bytes = random_bytes(1000, 1);
  const auto a = image_of(bytes);
  bytes.resize(1024);
  const auto b = image_of(bytes);
  EXPECT_EQ(compare(*a, *b).outcome, identical);
  bytes[1001] = std::byte{1};
  const auto c = image_of(bytes);
  EXPECT_EQ(compare(*a, *c), (CompareResult{content_mismatch, 512}));
}

TEST_F(CompareImages, HugeHolesAreComparedQuickly) {
  const auto a = hole(std::uint64_t{7} << 60);
  const auto b = hole(std::uint64_t{6} << 60);
  EXPECT_EQ(compare(*a, *b).outcome, identical);
}

TEST_F(CompareImages, EveryFaultIsReportedWithTheImageAndThePlace) {
  const Bytes bytes = random_bytes(2 * kMiB + 512, 1);
  FaultPlan counting;
  {
    const auto a = faulty(bytes, counting);
    const auto b = faulty(bytes, counting);
    ASSERT_EQ(try_compare(*a, *b)->outcome, identical);
  }
  for (std::uint64_t n = 0; n < counting.count(); ++n) {
    for (const Fault& fault : {Fault::fails(), Fault::ends_short()}) {
      FaultPlan plan;
      plan.at(n, fault);
      const auto a = faulty(bytes, plan);
      const auto b = faulty(bytes, plan);
      const Result<CompareResult> result = try_compare(*a, *b);
      ASSERT_FALSE(result) << n;
      EXPECT_EQ(result.error().os_error(), EIO);
      EXPECT_TRUE(result.error().offset());
    }
  }
}

TEST_F(CompareImages, CanBeCancelledAtEveryPiece) {
  const Bytes bytes = random_bytes(4 * kMiB, 1);
  for (std::uint64_t n = 0; n < 100; ++n) {
    const auto a = image_of(bytes);
    const auto b = image_of(bytes);
    CancelToken cancel;
    std::uint64_t told = 0;
    Progress progress([&](const Progress&) {
      if (told++ == n) cancel.request();
    });
    const auto result = try_compare(*a, *b, {.cancel = &cancel, .progress = &progress});
    if (told <= n) {
      EXPECT_EQ(progress.done(), progress.total());
      return;
    }
    if (!result) {
      EXPECT_EQ(result.error().kind(), ErrorKind::cancelled);
    }
  }
  FAIL() << "the comparison never ends";
}

TEST_F(CompareImages, ProgressEndsAtOneHundredPercent) {
  const auto a = image_of(random_bytes(3 * kMiB, 1));
  Bytes longer = random_bytes(3 * kMiB, 1);
  longer.resize(6 * kMiB);
  const auto b = image_of(longer);
  Progress progress([](const Progress&) {});
  ASSERT_EQ(try_compare(*a, *b, {.progress = &progress})->outcome, identical);
  EXPECT_EQ(progress.total(), 6 * kMiB);
  EXPECT_EQ(progress.done(), 6 * kMiB);
}

}  // namespace
}  // namespace test
}  // namespace platter
