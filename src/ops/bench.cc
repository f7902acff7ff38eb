#include "src/ops/bench.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter {
namespace {

constexpr std::uint64_t kMemoryMax = 1 * kGiB;
// Requests that finish at once must not keep the loop from its signals.
constexpr std::uint64_t kRequestsPerYield = 64;

// One place in memory for each request in flight. The pool deals in steps of 64 KiB: small places
// share a buffer.
class Places {
 public:
  static Result<Places> make(std::uint64_t count, std::uint64_t size, std::byte fill);

  std::span<std::byte> operator[](std::uint64_t index) const {
    return buffers_[index / per_buffer_].bytes().subspan(index % per_buffer_ * stride_, size_);
  }

 private:
  std::uint64_t size_ = 0;
  std::uint64_t stride_ = 0;
  std::uint64_t per_buffer_ = 1;
  std::vector<Buffer> buffers_;
};

Result<Places> Places::make(std::uint64_t count, std::uint64_t size, std::byte fill) {
  Places places;
  places.size_ = size;
  places.stride_ = align_up(std::max<std::uint64_t>(size, 1), BufferPool::kAlignment);
  places.per_buffer_ = std::max<std::uint64_t>(1, BufferPool::kSlabSize / places.stride_);
  if (count > kMemoryMax / places.stride_) {
    return fail(ErrorKind::too_large, std::to_string(count) + " requests of " +
                                          std::to_string(size) +
                                          " bytes in flight take more than " +
                                          std::to_string(kMemoryMax / kMiB) + " MiB of memory");
  }
  for (std::uint64_t made = 0; made < count; made += places.per_buffer_) {
    const std::uint64_t here = std::min(places.per_buffer_, count - made);
    Result<Buffer> buffer = Ring::current().buffers().acquire(here * places.stride_);
    if (!buffer) return fail(std::move(buffer.error()));
    std::memset(buffer->data(), std::to_integer<int>(fill), buffer->size());
    places.buffers_.push_back(*std::move(buffer));
  }
  return places;
}

class Bench {
 public:
  Bench(Image& image, const BenchOptions& options, const Places& places)
      : image_(image),
        options_(options),
        places_(places),
        step_(options.step != 0 ? options.step : options.size),
        left_(options.count),
        offset_(options.offset) {}

  Task<std::chrono::nanoseconds> run();

 private:
  bool drains() const { return options_.flush_interval != 0 && options_.drain; }
  std::uint64_t batch_size() const;
  Task<void> run_batch();
  Task<void> start_workers(TaskGroup& group, std::uint64_t count);
  Task<void> worker(TaskGroup& group, std::span<std::byte> memory);
  Task<void> request(std::span<std::byte> memory);
  std::uint64_t next_offset();

  Image& image_;
  const BenchOptions& options_;
  const Places& places_;
  const std::uint64_t step_;
  std::uint64_t left_;       // requests not begun, of all
  std::uint64_t batch_ = 0;  // of these, until the next flush that drains
  std::uint64_t offset_;     // of the next request
};

Task<std::chrono::nanoseconds> Bench::run() {
  const auto start = std::chrono::steady_clock::now();
  while (left_ > 0) {
    batch_ = batch_size();
    co_await run_batch();
    if (drains()) co_await image_.flush();
  }
  co_return std::chrono::steady_clock::now() - start;
}

// qemu-img flushes when the number of requests still to be begun is a multiple of the interval, and
// looks at it when a request completes: not before as many as the depth were begun.
std::uint64_t Bench::batch_size() const {
  if (!drains()) return left_;
  const std::uint64_t first = left_ % options_.flush_interval;
  const std::uint64_t batch = first >= options_.depth ? first : first + options_.flush_interval;
  return std::min(batch, left_);
}

Task<void> Bench::run_batch() {
  const std::uint64_t workers = std::min(options_.depth, batch_);
  auto body = [this, workers](TaskGroup& group) { return start_workers(group, workers); };
  co_await with_group(workers, body);
}

Task<void> Bench::start_workers(TaskGroup& group, std::uint64_t count) {
  for (std::uint64_t index = 0; index < count; ++index) {
    co_await group.spawn(worker(group, places_[index]));
  }
}

Task<void> Bench::worker(TaskGroup& group, std::span<std::byte> memory) {
  while (batch_ > 0 && !group.failed()) {
    if (options_.cancel != nullptr) co_await options_.cancel->check();
    --batch_;
    --left_;
    const bool flush_after =
        options_.flush_interval != 0 && !options_.drain && left_ % options_.flush_interval == 0;
    const bool yield_after = left_ % kRequestsPerYield == 0;
    co_await request(memory);
    if (flush_after) co_await image_.flush();
    if (yield_after) co_await yield();
  }
}

Task<void> Bench::request(std::span<std::byte> memory) {
  const std::uint64_t offset = next_offset();
  return options_.write ? image_.write(offset, memory) : image_.read(offset, memory);
}

std::uint64_t Bench::next_offset() {
  const std::uint64_t offset = offset_;
  const std::uint64_t size = image_.virtual_size();
  offset_ = size == 0 ? 0 : (offset_ + step_) % size;
  return offset;
}

}  // namespace

Task<std::chrono::nanoseconds> bench_image(Image& image, BenchOptions options) {
  PLATTER_CHECK(options.depth > 0);
  // The memory is touched here, so that no request pays for that.
  const std::uint64_t in_flight = std::min(options.depth, options.count);
  const Places places = co_await Places::make(in_flight, options.size, options.pattern);
  Bench bench(image, options, places);
  Result<std::chrono::nanoseconds> took = co_await bench.run().result();
  if (took || took.error().kind() == ErrorKind::cancelled) co_return took;
  co_return fail(std::move(took.error()).with_context("Failed request"));
}

}  // namespace platter
