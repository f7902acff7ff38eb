#include "src/ops/copy_engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "io/zero.h"
#include "src/ops/copy_plan.h"

namespace platter {
namespace {

constexpr std::uint64_t kChunk = 1 * kMiB;
// Between files in memory a piece is copied twice: small enough to stay in a core's cache.
constexpr std::uint64_t kChunkInMemory = 256 * kKiB;
// Zeroes are made by such pieces, so that a cancellation is heard; but by no more than so many.
constexpr std::uint64_t kZeroChunk = 1 * kGiB;
constexpr std::uint64_t kZeroSteps = 4096;
constexpr std::size_t kDefaultParallel = 16;
constexpr std::size_t kLargeParallel = 8;
constexpr std::size_t kMappingsAtOnce = 256;

// Spreads `bytes` over time so that the whole stays below the limit.
class RateLimit {
 public:
  explicit RateLimit(std::uint64_t bytes_per_second) : limit_(bytes_per_second) {}

  /// True once the bytes may go; false after a short wait: look who wants to stop, then ask again
  /// with 0 bytes.
  Task<bool> pay(std::uint64_t bytes) {
    if (limit_ == 0) co_return true;
    paid_ += bytes;
    const std::chrono::duration<double> due(static_cast<double>(paid_) /
                                            static_cast<double>(limit_));
    const std::chrono::duration<double> left = due - (std::chrono::steady_clock::now() - start_);
    if (left.count() <= 0) co_return true;
    const auto wait =
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::min(left, kWaitMax));
    const int slept = co_await Ring::current().sleep(wait);
    if (slept < 0) co_return fail_errno(-slept, "wait");
    co_return left <= kWaitMax;
  }

 private:
  static constexpr std::chrono::duration<double> kWaitMax{0.1};

  std::uint64_t limit_;
  std::uint64_t paid_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class CopyEngine {
 public:
  CopyEngine(Image& source, Image& target, const CopyOptions& options)
      : source_(source), target_(target), options_(options), rate_(options.rate_limit) {}

  Task<CopyStats> run();

 private:
  CopyPlanOptions plan_options() const;
  Task<void> count_total();
  Task<std::vector<Mapping>> map_source(std::uint64_t at);
  Task<void> produce(TaskGroup& group);
  Task<void> start_steps(TaskGroup& group, CopyPlanner& planner);
  Task<void> do_step(CopyStep step);
  Task<void> copy_chunk(CopyStep step);
  Task<bool> offload_chunk(CopyStep step);
  Task<void> read_chunk(CopyStep step, std::span<std::byte> into);
  Task<void> read_what_can_be(CopyStep step, std::span<std::byte> into);
  Task<void> write_sparse(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_zero_run(std::uint64_t offset, std::uint64_t length);
  Task<void> write_compressed(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_data(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> make_zero(std::uint64_t offset, std::uint64_t length);
  Result<void> check_cancelled() const {
    return options_.cancel != nullptr ? options_.cancel->check() : Result<void>();
  }

  Image& source_;
  Image& target_;
  const CopyOptions& options_;
  RateLimit rate_;
  CopyStats stats_;
  bool can_offload_ = true;
  bool count_skipped_ = false;  // as progress, too
};

CopyPlanOptions CopyEngine::plan_options() const {
  const FileTraits& from = source_.file().traits();
  const FileTraits& to = target_.file().traits();
  CopyPlanOptions plan;
  plan.image_size = source_.virtual_size();
  const bool copied_twice = from.in_memory && to.in_memory && !options_.offload_copy;
  plan.chunk = copied_twice ? kChunkInMemory : kChunk;
  plan.alignment = std::max(
      {std::uint64_t{from.request_alignment}, std::uint64_t{to.request_alignment}, kSectorSize});
  plan.zero_chunk = align_up(std::max(kZeroChunk, plan.image_size / kZeroSteps), kZeroChunk);
  plan.chunk = std::max(plan.chunk, options_.compress_unit);
  plan.alignment = std::max(plan.alignment, options_.compress_unit);
  plan.target_is_zero = options_.target_is_zero;
  plan.keep_backing = options_.target_backing_size.has_value();
  plan.zero_from = options_.target_backing_size.value_or(0);
  plan.copy_zeroes = options_.sparse_size == 0;
  return plan;
}

Task<CopyStats> CopyEngine::run() {
  PLATTER_CHECK(target_.virtual_size() >= source_.virtual_size());
  if (options_.progress != nullptr) {
    if (options_.progress->watched()) {
      co_await count_total();
    } else {
      // Asked for now and then at most (SIGUSR1): the place reached says enough, and costs nothing.
      count_skipped_ = true;
      options_.progress->set_total(source_.virtual_size());
    }
  }
  std::size_t parallel = options_.parallel != 0 ? options_.parallel : kDefaultParallel;
  // Pieces of large clusters, twice over: what is in flight stays within 32 MiB.
  if (options_.compress_unit > kChunk) parallel = std::min(parallel, kLargeParallel);
  auto body = [this](TaskGroup& group) { return produce(group); };
  co_await with_group(parallel, body);
  co_return stats_;
}

// What there is to do, in bytes, so that progress is told as a part of it.
Task<void> CopyEngine::count_total() {
  std::uint64_t total = 0;
  CopyPlanner planner(plan_options());
  auto count = [&] {
    while (const auto step = planner.next()) {
      if (step->action != CopyAction::skip) total += step->length;
    }
  };
  for (std::uint64_t at = 0; at < source_.virtual_size();) {
    co_await check_cancelled();
    const auto mappings = co_await map_source(at);
    for (const Mapping& mapping : mappings) planner.add(mapping);
    at = mappings.back().offset + mappings.back().length;
    count();
  }
  planner.finish();
  count();
  options_.progress->set_total(total);
}

// What the target's backing image has is not looked at where it is the source's, too.
Task<std::vector<Mapping>> CopyEngine::map_source(std::uint64_t at) {
  const std::uint64_t left = source_.virtual_size() - at;
  if (options_.target_backing_size) return source_.map(at, left, kMappingsAtOnce);
  return source_.map_chain(at, left, kMappingsAtOnce);
}

Task<void> CopyEngine::produce(TaskGroup& group) {
  CopyPlanner planner(plan_options());
  for (std::uint64_t at = 0; at < source_.virtual_size() && !group.failed();) {
    const auto mappings = co_await map_source(at);
    for (const Mapping& mapping : mappings) {
      planner.add(mapping);
      co_await start_steps(group, planner);
    }
    at = mappings.back().offset + mappings.back().length;
  }
  planner.finish();
  co_await start_steps(group, planner);
}

Task<void> CopyEngine::start_steps(TaskGroup& group, CopyPlanner& planner) {
  while (!group.failed()) {
    co_await check_cancelled();
    const std::optional<CopyStep> step = planner.next();
    if (!step) co_return;
    if (step->action == CopyAction::skip) {
      stats_.skipped += step->length;
      if (count_skipped_) options_.progress->add(step->length);
      continue;
    }
    bool paid = co_await rate_.pay(step->length);
    while (!paid && !group.failed()) {
      co_await check_cancelled();
      paid = co_await rate_.pay(0);
    }
    co_await group.spawn(do_step(*step));
    co_await yield();  // steps that finish at once must not keep the loop from its signals
  }
}

Task<void> CopyEngine::do_step(CopyStep step) {
  if (step.action == CopyAction::zero) {
    co_await make_zero(step.offset, step.length);
  } else {
    co_await copy_chunk(step);
  }
  if (options_.progress != nullptr) options_.progress->add(step.length);
}

Task<void> CopyEngine::copy_chunk(CopyStep step) {
  if (options_.offload_copy && can_offload_) {
    const bool done = co_await offload_chunk(step);
    if (done) co_return;
  }
  const Buffer buffer = co_await Ring::current().buffers().acquire(step.length);
  co_await read_chunk(step, buffer.bytes());
  stats_.read += step.length;
  if (options_.compress_unit != 0) {
    co_await write_compressed(step.offset, buffer.bytes());
  } else if (options_.sparse_size == 0) {
    co_await write_data(step.offset, buffer.bytes());
  } else {
    co_await write_sparse(step.offset, buffer.bytes());
  }
}

// False where the kernel can't: then the data moves through memory as usual.
Task<bool> CopyEngine::offload_chunk(CopyStep step) {
  if (step.file == nullptr) co_return false;
  const WritePlace place = co_await target_.prepare_write(step.offset, step.length);
  Result<std::uint64_t> copied = 0;
  if (place.length == step.length) {
    copied =
        co_await place.file->copy_from(*step.file, step.file_offset, place.file_offset, step.length)
            .result();
  }
  if (!copied || *copied < step.length) {
    co_await target_.abandon_write(place);
    const bool can = copied || copied.error().kind() != ErrorKind::unsupported;
    can_offload_ = can_offload_ && can;
    if (!copied && can) co_return fail(std::move(copied.error()));
    co_return false;  // in pieces, or the source's end is near: reading tells what is up
  }
  co_await target_.commit_write(place);
  stats_.read += step.length;
  stats_.written += step.length;
  co_return true;
}

Task<void> CopyEngine::read_chunk(CopyStep step, std::span<std::byte> into) {
  Result<void> done;
  if (step.file != nullptr) {
    done = co_await read_exactly(*step.file, step.file_offset, into).result();
  } else {
    done = co_await source_.read(step.offset, into).result();
  }
  if (done) co_return;
  const bool cut = done.error().kind() == ErrorKind::file_changed;
  if (cut || !options_.salvage) co_await std::move(done);
  co_await read_what_can_be(step, into);
}

Task<void> CopyEngine::read_what_can_be(CopyStep step, std::span<std::byte> into) {
  const std::size_t block = plan_options().alignment;
  for (std::size_t at = 0; at < into.size(); at += block) {
    const std::span<std::byte> part = into.subspan(at, std::min(block, into.size() - at));
    const Result<void> done = co_await source_.read(step.offset + at, part).result();
    if (done) continue;
    std::memset(part.data(), 0, part.size());
    if (options_.on_salvage) options_.on_salvage(done.error());
  }
}

Task<void> CopyEngine::write_sparse(std::uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    // The first block may be short, so that the others lie at multiples of the size.
    const std::uint64_t first = options_.sparse_size - offset % options_.sparse_size;
    bool zero = false;
    std::size_t length = std::min<std::size_t>(first, data.size());
    if (first == options_.sparse_size) {
      length = uniform_prefix(data, options_.sparse_size, zero);
    } else {
      zero = is_zero(data.first(length));
    }
    if (zero) {
      co_await write_zero_run(offset, length);
    } else {
      co_await write_data(offset, data.first(length));
    }
    offset += length;
    data = data.subspan(length);
  }
}

Task<void> CopyEngine::write_zero_run(std::uint64_t offset, std::uint64_t length) {
  if (options_.target_is_zero && offset >= options_.target_backing_size.value_or(0)) {
    stats_.skipped += length;
  } else {
    co_await make_zero(offset, length);
  }
}

// Runs of whole clusters: zeroes, or not.
Task<void> CopyEngine::write_compressed(std::uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const std::size_t unit = std::min<std::size_t>(options_.compress_unit, data.size());
    const bool zero = options_.sparse_size != 0 && is_zero(data.first(unit));
    std::size_t length = unit;
    while (!zero && length < data.size()) {
      const auto next =
          data.subspan(length, std::min<std::size_t>(options_.compress_unit, data.size() - length));
      if (options_.sparse_size != 0 && is_zero(next)) break;
      length += next.size();
    }
    if (zero) {
      co_await write_zero_run(offset, length);
    } else {
      co_await target_.write_compressed(offset, data.first(length));
      stats_.written += length;
    }
    offset += length;
    data = data.subspan(length);
  }
}

Task<void> CopyEngine::write_data(std::uint64_t offset, std::span<const std::byte> data) {
  co_await target_.write(offset, data);
  stats_.written += data.size();
}

Task<void> CopyEngine::make_zero(std::uint64_t offset, std::uint64_t length) {
  co_await target_.write_zeroes(offset, length, ZeroMode::may_unmap);
  stats_.zeroed += length;
}

}  // namespace

Task<CopyStats> copy_image(Image& source, Image& target, CopyOptions options) {
  // Zeroes are looked for within one chunk.
  options.sparse_size = std::min(options.sparse_size, kChunk);
  CopyEngine engine(source, target, options);
  co_return co_await engine.run();
}

}  // namespace platter
