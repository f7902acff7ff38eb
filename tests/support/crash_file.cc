#include "tests/support/crash_file.h"

#include <algorithm>
#include <numeric>

#include "io/bytes.h"
#include "io/run_loop.h"

namespace platter::test {
namespace {

constexpr std::uint64_t kSector = CrashFile::kSectorSize;

struct Range {
  std::uint64_t begin;
  std::uint64_t end;
};

}  // namespace

CrashFile::CrashFile(Disk disk, CrashFileOptions options)
    : options_(std::move(options)),
      live_(std::move(disk)),
      durable_(live_),
      random_(options_.seed) {
  durable_.fold();
  live_ = durable_;
}

Task<void> CrashFile::pause() {
  if (options_.yields_max == 0) co_return;
  for (std::uint64_t n = random_() % (options_.yields_max + 1); n > 0; --n) co_await yield();
}

Result<void> CrashFile::check_range(std::uint64_t offset, std::uint64_t length) const {
  if (in_bounds(offset, length, kMaxFileSize)) return {};
  return fail(ErrorKind::too_large, "'" + options_.name + "' can't hold that much");
}

Task<std::size_t> CrashFile::read(std::uint64_t offset, std::span<std::byte> into) {
  co_await pause();
  co_return live_.read(offset, into);
}

Task<std::vector<Extent>> CrashFile::extents(std::uint64_t offset, std::uint64_t length,
                                             std::size_t count_max) {
  co_await pause();
  co_return live_.extents(offset, length, count_max);
}

// The sectors of [begin, end), as they are now.
void CrashFile::add_change(Operation& operation, std::uint64_t begin, std::uint64_t end) const {
  if (begin >= end) return;
  std::vector<std::byte> data(end - begin);
  live_.read(begin, data);  // zeroes past the end
  operation.changes.push_back({.offset = begin, .length = end - begin, .data = std::move(data)});
}

// Remembers what an operation that has just taken effect did to the sectors that it touched.
std::uint64_t CrashFile::record(std::uint64_t offset, std::uint64_t length, bool zeroes,
                                std::uint64_t size_before) {
  Operation operation{.id = next_id_++, .changes = {}, .new_size = {}, .returned = false};
  if (length > 0) {
    const Range touched{align_down(offset, kSector), align_up(offset + length, kSector)};
    if (zeroes) {
      const Range whole{align_up(offset, kSector), align_down(offset + length, kSector)};
      if (whole.begin < whole.end) {
        add_change(operation, touched.begin, whole.begin);
        operation.changes.push_back(
            {.offset = whole.begin, .length = whole.end - whole.begin, .data = {}});
        add_change(operation, whole.end, touched.end);
      } else {
        add_change(operation, touched.begin, touched.end);
      }
    } else {
      add_change(operation, touched.begin, touched.end);
    }
  }
  if (live_.size() != size_before) operation.new_size = live_.size();
  pending_.push_back(std::move(operation));
  return pending_.back().id;
}

void CrashFile::returned(std::uint64_t id) {
  const auto found = std::ranges::lower_bound(pending_, id, {}, &Operation::id);
  if (found != pending_.end() && found->id == id) found->returned = true;
}

Task<void> CrashFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_range(offset, data.size());
  co_await pause();
  const std::uint64_t size_before = live_.size();
  live_.write(offset, data);
  const std::uint64_t id = record(offset, data.size(), /*zeroes=*/false, size_before);
  co_await pause();
  returned(id);
}

Task<void> CrashFile::writev(std::uint64_t offset, std::span<const iovec> data) {
  const std::size_t length = total_size(data);
  co_await check_range(offset, length);
  co_await pause();
  const std::uint64_t size_before = live_.size();
  std::uint64_t at = offset;
  for (const iovec& piece : data) {
    live_.write(at, {static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
    at += piece.iov_len;
  }
  const std::uint64_t id = record(offset, length, /*zeroes=*/false, size_before);
  co_await pause();
  returned(id);
}

Task<void> CrashFile::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode /*mode*/) {
  co_await check_range(offset, length);
  co_await pause();
  const std::uint64_t size_before = live_.size();
  if (length > 0) live_.resize(std::max(size_before, offset + length));
  live_.zero(offset, length);
  const std::uint64_t id = record(offset, length, /*zeroes=*/true, size_before);
  co_await pause();
  returned(id);
}

Task<void> CrashFile::discard(std::uint64_t offset, std::uint64_t length) {
  co_await pause();
  const std::uint64_t size = live_.size();
  if (offset >= size) co_return;
  length = std::min(length, size - offset);
  const bool zeroes = options_.discarded == std::byte{0};
  if (zeroes) {
    live_.zero(offset, length);
  } else {
    live_.write(offset, std::vector<std::byte>(length, options_.discarded));
  }
  const std::uint64_t id = record(offset, length, zeroes, size);
  co_await pause();
  returned(id);
}

Task<void> CrashFile::truncate(std::uint64_t size) {
  co_await check_range(size, 0);
  co_await pause();
  const std::uint64_t size_before = live_.size();
  live_.resize(size);
  const std::uint64_t cut = size_before > size ? size_before - size : 0;
  const std::uint64_t id = record(size, cut, /*zeroes=*/true, size_before);
  co_await pause();
  returned(id);
}

Task<void> CrashFile::allocate(std::uint64_t offset, std::uint64_t length) {
  co_await check_range(offset, length);
  co_await pause();
  const std::uint64_t size_before = live_.size();
  if (length > 0) live_.resize(std::max(size_before, offset + length));
  const std::uint64_t id = record(offset, 0, /*zeroes=*/true, size_before);
  co_await pause();
  returned(id);
}

Task<void> CrashFile::flush() {
  std::vector<std::uint64_t> ids;
  for (const Operation& operation : pending_) {
    if (operation.returned) ids.push_back(operation.id);
  }
  co_await pause();
  if (before_flush_) before_flush_();
  if (flush_os_error_ != 0) co_await fail_errno(flush_os_error_, "flush", options_.name);
  make_durable(ids);
  ++flushes_;
}

void CrashFile::make_durable(const std::vector<std::uint64_t>& ids) {
  // An operation that was in flight stays uncertain, unless a durable one came later to the same
  // sectors: then it is durable too, so that applying the rest in order still gives what is live.
  std::vector<Range> later;
  std::vector<bool> durable(pending_.size());
  bool any_left = false;
  for (std::size_t i = pending_.size(); i-- > 0;) {
    const Operation& operation = pending_[i];
    const auto overlaps = [&operation](const Range& range) {
      return std::ranges::any_of(operation.changes, [&range](const Change& change) {
        return change.offset < range.end && range.begin < change.offset + change.length;
      });
    };
    durable[i] = std::ranges::binary_search(ids, operation.id) ||
                 (operation.id < next_id_ && !ids.empty() && operation.id < ids.back() &&
                  (operation.new_size || std::ranges::any_of(later, overlaps)));
    any_left = any_left || !durable[i];
    if (!durable[i]) continue;
    for (const Change& change : operation.changes) {
      later.push_back({change.offset, change.offset + change.length});
    }
  }
  if (!any_left) {
    durable_ = live_;
    durable_.fold();
    live_ = durable_;
    pending_.clear();
    return;
  }
  std::deque<Operation> left;
  std::uint64_t size = durable_.size();
  durable_.resize(std::max(size, live_.size()));
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    Operation& operation = pending_[i];
    if (!durable[i]) {
      left.push_back(std::move(operation));
      continue;
    }
    for (const Change& change : operation.changes) {
      durable_.resize(std::max(durable_.size(), change.offset + change.length));
      if (change.data.empty()) {
        durable_.zero(change.offset, change.length);
      } else {
        durable_.write(change.offset, change.data);
      }
    }
    if (operation.new_size) size = *operation.new_size;
  }
  durable_.resize(size);
  durable_.fold();
  pending_ = std::move(left);
}

std::vector<CrashPlan> CrashFile::systematic_plans() const {
  std::vector<CrashPlan> plans;
  const std::size_t count = pending_.size();
  for (std::size_t n = 0; n <= count; ++n) plans.push_back(CrashPlan::prefix(n));
  for (std::size_t n = 0; n + 1 < count; ++n) plans.push_back(CrashPlan::all_but(n));
  for (std::size_t n = 1; n < count; ++n) plans.push_back(CrashPlan::only(n));
  return plans;
}

namespace {

// Some sectors of a long operation: 64 coins for each draw.
class Coins {
 public:
  explicit Coins(std::mt19937_64& random) : random_(random) {}
  bool next() {
    if (left_ == 0) {
      bits_ = random_();
      left_ = 64;
    }
    --left_;
    const bool coin = (bits_ & 1U) != 0;
    bits_ >>= 1U;
    return coin;
  }

 private:
  std::mt19937_64& random_;
  std::uint64_t bits_ = 0;
  unsigned left_ = 0;
};

}  // namespace

Disk CrashFile::crash_state(const CrashPlan& plan) const {
  Disk state = durable_;
  // Changes may lie past the size until the size is chosen.
  std::uint64_t end = std::max(state.size(), live_.size());
  for (const Operation& operation : pending_) {
    for (const Change& change : operation.changes) {
      end = std::max(end, change.offset + change.length);
    }
  }
  std::uint64_t size = state.size();
  state.resize(end);
  const auto put = [&state](const Change& change, std::uint64_t from, std::uint64_t length) {
    if (change.data.empty()) {
      state.zero(change.offset + from, length);
    } else {
      state.write(change.offset + from, std::span(change.data).subspan(from, length));
    }
  };

  std::mt19937_64 random(plan.number);
  Coins coins(random);
  const bool by_chance = plan.kind == CrashPlan::Kind::random;
  // Few of many, half of them, most of them: each makes mistakes of another kind visible.
  constexpr unsigned kPercent[] = {5, 20, 50, 80, 95, 100};
  const unsigned percent = by_chance ? kPercent[random() % std::size(kPercent)] : 0;
  const bool torn = by_chance && random() % 2 == 0;
  const bool reordered = by_chance && random() % 2 == 0;

  std::vector<std::size_t> order(pending_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (reordered) {
    for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
  }
  for (const std::size_t index : order) {
    const Operation& operation = pending_[index];
    bool reached = false;
    bool size_reached = false;
    switch (plan.kind) {
      case CrashPlan::Kind::prefix: reached = index < plan.number; break;
      case CrashPlan::Kind::all_but: reached = index != plan.number; break;
      case CrashPlan::Kind::only: reached = index == plan.number; break;
      case CrashPlan::Kind::random: reached = random() % 100 < percent; break;
    }
    size_reached = torn ? coins.next() : reached;
    if (operation.new_size && size_reached) size = *operation.new_size;
    if (!reached) continue;
    for (const Change& change : operation.changes) {
      if (!torn) {
        put(change, 0, change.length);
        continue;
      }
      // No more coins than a long run of zeroes is worth.
      const std::uint64_t sectors = change.length / kSector;
      const std::uint64_t step = std::max<std::uint64_t>(1, sectors / 4096) * kSector;
      for (std::uint64_t at = 0; at < change.length; at += step) {
        if (coins.next()) put(change, at, std::min(step, change.length - at));
      }
    }
  }
  state.resize(size);
  return state;
}

}  // namespace platter::test
