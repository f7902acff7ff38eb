#include "src/ops/bench.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "formats/raw/raw_image.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "tests/support/fake_image.h"
#include "tests/support/faulty_file.h"

namespace platter::test {
namespace {

struct Event {
  enum class Kind : std::uint8_t { read, write, flush } kind;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::size_t in_flight = 0;  ///< when it began, this one excluded
  bool operator==(const Event&) const = default;
};
void PrintTo(const Event& event, std::ostream* out) {
  constexpr const char* kNames[] = {"read", "write", "flush"};
  *out << kNames[static_cast<int>(event.kind)] << " " << event.offset << "+" << event.length
       << " beside " << event.in_flight;
}

// Takes down what is asked of it. Each request lets everything else run once before it completes.
class LogImage final : public Image {
 public:
  explicit LogImage(std::uint64_t size) : file_(memory_file({})), size_(size) {}

  const std::vector<Event>& log() const { return log_; }
  std::size_t most_in_flight() const {
    return std::ranges::max(log_, {}, &Event::in_flight).in_flight + 1;
  }
  std::vector<std::uint64_t> offsets() const {
    std::vector<std::uint64_t> offsets;
    for (const Event& event : log_) {
      if (event.kind != Event::Kind::flush) offsets.push_back(event.offset);
    }
    return offsets;
  }
  /// How many requests began before each flush.
  std::vector<std::size_t> flushed_after() const {
    std::vector<std::size_t> counts;
    std::size_t requests = 0;
    for (const Event& event : log_) {
      if (event.kind == Event::Kind::flush) {
        counts.push_back(requests);
      } else {
        ++requests;
      }
    }
    return counts;
  }
  std::byte last_byte() const { return last_byte_; }

  const std::string& filename() const noexcept override { return name_; }
  std::string_view format() const noexcept override { return "log"; }
  std::uint64_t virtual_size() const noexcept override { return size_; }
  bool read_only() const noexcept override { return false; }
  File& file() noexcept override { return *file_; }
  Task<ImageInfo> info() override { co_return ImageInfo{}; }
  Task<std::vector<Mapping>> map(std::uint64_t /*offset*/, std::uint64_t /*length*/,
                                 std::size_t /*count_max*/) override {
    co_return std::vector<Mapping>{};
  }
  Task<void> read(std::uint64_t offset, std::span<std::byte> into) override {
    return take({Event::Kind::read, offset, into.size()});
  }
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data) override {
    if (!data.empty()) last_byte_ = data.back();
    return take({Event::Kind::write, offset, data.size()});
  }
  Task<void> flush() override { return take({Event::Kind::flush}); }
  Task<WritePlace> prepare_write(std::uint64_t /*offset*/, std::uint64_t /*length*/) override {
    co_return WritePlace{};
  }
  Task<void> commit_write(const WritePlace& /*place*/) override { co_return; }
  Task<void> write_zeroes(std::uint64_t /*offset*/, std::uint64_t /*length*/,
                          ZeroMode /*mode*/) override {
    co_return;
  }
  Task<void> discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) override { co_return; }
  Task<void> resize(std::uint64_t /*size*/, ResizeOptions /*options*/) override { co_return; }
  Task<void> close() override { co_return; }

 private:
  Task<void> take(Event event) {
    event.in_flight = in_flight_++;
    log_.push_back(event);
    co_await yield();
    --in_flight_;
  }

  std::unique_ptr<File> file_;
  std::string name_ = "log";
  std::uint64_t size_;
  std::vector<Event> log_;
  std::size_t in_flight_ = 0;
  std::byte last_byte_{0};
};

class BenchImage : public testing::Test {
 protected:
  Result<std::chrono::nanoseconds> bench(Image& image, BenchOptions options) {
    Result<std::chrono::nanoseconds> took = ring_->run(bench_image(image, options));
    EXPECT_EQ(ring_->buffers().in_use(), 0U);
    return took;
  }
  void expect_done(LogImage& image, BenchOptions options) {
    const auto took = bench(image, options);
    ASSERT_TRUE(took) << took.error().message();
    EXPECT_GE(took->count(), 0);
    EXPECT_EQ(image.offsets().size(), options.count);
  }
  std::unique_ptr<Ring> ring_ = Ring::create().value();
};

using Offsets = std::vector<std::uint64_t>;
using Counts = std::vector<std::size_t>;

TEST_F(BenchImage, RequestsFollowEachOther) {
  LogImage image(1 * kMiB);
  expect_done(image, {.count = 4, .depth = 1, .size = 4096});
  const std::vector<Event> expected = {{Event::Kind::read, 0, 4096},
                                       {Event::Kind::read, 4096, 4096},
                                       {Event::Kind::read, 8192, 4096},
                                       {Event::Kind::read, 12288, 4096}};
  EXPECT_EQ(image.log(), expected);
}

TEST_F(BenchImage, TheStepIsFromBeginToBegin) {
  LogImage image(1 * kMiB);
  expect_done(image, {.count = 3, .depth = 1, .size = 512, .step = 70'000, .offset = 10});
  EXPECT_EQ(image.offsets(), (Offsets{10, 70'010, 140'010}));
}

TEST_F(BenchImage, BeginsAnewPastTheEnd) {
  LogImage image(10'240);
  expect_done(image, {.count = 6, .depth = 1, .size = 512, .step = 4096});
  EXPECT_EQ(image.offsets(), (Offsets{0, 4096, 8192, 2048, 6144, 0}));
}

TEST_F(BenchImage, KeepsAsManyRequestsInFlightAsAsked) {
  for (const std::uint64_t depth : {1, 2, 7, 64}) {
    LogImage image(16 * kMiB);
    expect_done(image, {.count = 200, .depth = depth});
    EXPECT_EQ(image.most_in_flight(), depth);
  }
}

TEST_F(BenchImage, FewerRequestsThanTheDepthAreAllInFlight) {
  LogImage image(16 * kMiB);
  expect_done(image, {.count = 5, .depth = 64});
  EXPECT_EQ(image.most_in_flight(), 5U);
}

TEST_F(BenchImage, NoRequestsAreDoneAtOnce) {
  LogImage image(16 * kMiB);
  expect_done(image, {.count = 0});
}

TEST_F(BenchImage, RequestsOfNoBytesAreRequests) {
  LogImage image(16 * kMiB);
  expect_done(image, {.count = 100, .size = 0});
}

TEST_F(BenchImage, WritesThePattern) {
  LogImage image(16 * kMiB);
  expect_done(image, {.write = true, .count = 1, .pattern = std::byte{0xa5}});
  EXPECT_EQ(image.log()[0].kind, Event::Kind::write);
  EXPECT_EQ(image.last_byte(), std::byte{0xa5});
}

TEST_F(BenchImage, LargeRequestsHaveBuffersOfTheirOwn) {
  auto file = memory_file(std::vector<std::byte>(8 * kMiB));
  const auto image = ring_->run(RawImage::open(std::move(file), "image")).value();
  const auto took =
      bench(*image,
            {.write = true, .count = 8, .depth = 3, .size = 1 * kMiB, .pattern = std::byte{0x11}});
  ASSERT_TRUE(took) << took.error().message();
  const auto bytes = ring_->run(guest_bytes(*image)).value();
  EXPECT_TRUE(std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0x11}; }));
  ring_->run(image->close()).value();
}

TEST_F(BenchImage, AFlushComesWhenWhatIsLeftIsAMultipleOfTheInterval) {
  LogImage image(16 * kMiB);
  expect_done(image, {.write = true, .count = 35, .depth = 4, .flush_interval = 10});
  EXPECT_EQ(image.flushed_after(), (Counts{5, 15, 25, 35}));
}

TEST_F(BenchImage, AFlushDoesNotComeBeforeTheQueueWasFull) {
  LogImage image(16 * kMiB);
  expect_done(image, {.write = true, .count = 33, .depth = 4, .flush_interval = 10});
  EXPECT_EQ(image.flushed_after(), (Counts{13, 23, 33}));
}

TEST_F(BenchImage, AFlushThatDrainsIsAlone) {
  LogImage image(16 * kMiB);
  expect_done(image, {.write = true, .count = 100, .depth = 8, .flush_interval = 10});
  EXPECT_EQ(image.most_in_flight(), 8U);
  for (std::size_t n = 0; n < image.log().size(); ++n) {
    if (image.log()[n].kind != Event::Kind::flush) continue;
    EXPECT_EQ(image.log()[n].in_flight, 0U);
    if (n + 1 < image.log().size()) EXPECT_EQ(image.log()[n + 1].in_flight, 0U);
  }
}

TEST_F(BenchImage, AFlushThatDoesNotDrainGoesBesideRequests) {
  LogImage image(16 * kMiB);
  expect_done(image,
              {.write = true, .count = 100, .depth = 8, .flush_interval = 10, .drain = false});
  const auto& log = image.log();
  EXPECT_EQ(std::ranges::count(log, Event::Kind::flush, &Event::kind), 10);
  EXPECT_TRUE(std::ranges::any_of(log, [](const Event& event) {
    return event.kind == Event::Kind::flush && event.in_flight > 0;
  }));
}

TEST_F(BenchImage, ARequestOverTheEndIsAnErrorThatEndsAll) {
  const auto image =
      ring_->run(RawImage::open(memory_file(std::vector<std::byte>(10'240)), "image")).value();
  const auto took = bench(*image, {.count = 1'000'000'000, .depth = 4, .size = 4096});
  ASSERT_FALSE(took);
  EXPECT_EQ(to_string(took.error().kind()), "out_of_bounds");
  EXPECT_EQ(took.error().message(),
            "Failed request: 'image': 4096 bytes at offset 8192 lie outside of the image's 10240 "
            "bytes");
  ring_->run(image->close()).value();
}

TEST_F(BenchImage, AFailedRequestOrFlushEndsAll) {
  for (const FileOperation kind : {FileOperation::write, FileOperation::flush}) {
    FaultPlan plan;
    plan.at(kind, 2, Fault::fails(EIO));
    auto file = std::make_unique<FaultyFile>(memory_file(std::vector<std::byte>(1 * kMiB)), plan);
    const auto image = ring_->run(RawImage::open(std::move(file), "image")).value();
    const auto took =
        bench(*image, {.write = true, .count = 1'000'000'000, .depth = 4, .flush_interval = 10});
    ASSERT_FALSE(took);
    EXPECT_EQ(to_string(took.error().kind()), "io");
    EXPECT_TRUE(took.error().message().starts_with("Failed request: ")) << took.error().message();
    ring_->run(image->close()).value();
  }
}

TEST_F(BenchImage, ACancellationEndsAll) {
  CancelToken cancel;
  cancel.request();
  LogImage image(16 * kMiB);
  const auto took = bench(image, {.count = 1'000'000'000, .cancel = &cancel});
  ASSERT_FALSE(took);
  EXPECT_EQ(to_string(took.error().kind()), "cancelled");
  EXPECT_TRUE(image.log().empty());
}

TEST_F(BenchImage, MemoryIsBounded) {
  LogImage image(16 * kMiB);
  const auto took = bench(image, {.count = 2000, .depth = 2000, .size = 1 * kMiB});
  ASSERT_FALSE(took);
  EXPECT_EQ(to_string(took.error().kind()), "too_large");
  EXPECT_TRUE(image.log().empty());
}

}  // namespace
}  // namespace platter::test
