#include "src/ops/compare.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "io/zero.h"
#include "src/ops/mapping_cursor.h"

namespace platter {
namespace {

constexpr std::uint64_t kChunk = 512 * kKiB;
constexpr std::size_t kParallel = 16;
constexpr std::uint64_t kNowhere = std::numeric_limits<std::uint64_t>::max();

// Guest bytes [offset, offset + length), and on which sides they have to be read.
struct Piece {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool read_a = false;
  bool read_b = false;
};

class Comparison {
 public:
  Comparison(Image& a, Image& b, const CompareOptions& options)
      : a_(a), b_(b), options_(options), cursor_a_(&a), cursor_b_(&b) {}

  Task<CompareResult> run();

 private:
  Task<void> walk(std::uint64_t begin, std::uint64_t end);
  Task<void> produce(TaskGroup& group, std::uint64_t begin, std::uint64_t end);
  Task<void> compare_piece(Piece piece);
  Task<void> read_and_compare(Piece piece);
  Task<void> read_side(Image& image, std::uint64_t offset, std::span<std::byte> into);
  void found(CompareOutcome outcome, std::uint64_t offset);
  Result<void> check_cancelled() const {
    return options_.cancel != nullptr ? options_.cancel->check() : Result<void>();
  }

  Image& a_;
  Image& b_;
  const CompareOptions& options_;
  MappingCursor cursor_a_;
  MappingCursor cursor_b_;
  std::uint64_t failed_at_ = kNowhere;  // the first piece that could not be read
  CompareResult first_{.outcome = CompareOutcome::identical, .offset = kNowhere};
};

void Comparison::found(CompareOutcome outcome, std::uint64_t offset) {
  if (offset < first_.offset) first_ = {outcome, offset};
}

Task<CompareResult> Comparison::run() {
  const std::uint64_t size_a = a_.virtual_size();
  const std::uint64_t size_b = b_.virtual_size();
  if (options_.strict && size_a != size_b) {
    co_return CompareResult{CompareOutcome::size_mismatch, 0};
  }
  const std::uint64_t common = std::min(size_a, size_b);
  const std::uint64_t all = std::max(size_a, size_b);
  if (options_.progress != nullptr) options_.progress->set_total(all);
  co_await walk(0, common);
  if (first_.outcome == CompareOutcome::identical && common < all) {
    if (options_.on_size_mismatch) options_.on_size_mismatch();
    co_await walk(common, all);
  }
  co_return first_;
}

Task<void> Comparison::walk(std::uint64_t begin, std::uint64_t end) {
  auto body = [this, begin, end](TaskGroup& group) { return produce(group, begin, end); };
  Result<void> done = co_await with_group(kParallel, body).result();
  // What could not be read behind a difference would not have been read one by one.
  const bool behind = first_.outcome != CompareOutcome::identical && first_.offset < failed_at_;
  if (!done && failed_at_ != kNowhere && behind) co_return;
  co_await std::move(done);
}

Task<void> Comparison::produce(TaskGroup& group, std::uint64_t begin, std::uint64_t end) {
  for (std::uint64_t at = begin; at < end && !group.failed();) {
    co_await check_cancelled();
    // Pieces in flight lie before: one of them may still find an earlier difference.
    if (first_.outcome != CompareOutcome::identical) co_return;
    const Mapping a = co_await cursor_a_.at(at);
    const Mapping b = co_await cursor_b_.at(at);
    Piece piece{.offset = at,
                .length = std::min({a.length, b.length, end - at}),
                .read_a = !reads_as_zeroes(a.kind),
                .read_b = !reads_as_zeroes(b.kind)};
    if (options_.strict && a.kind != b.kind) {
      found(CompareOutcome::status_mismatch, at);
      co_return;
    }
    if (piece.read_a || piece.read_b) {
      piece.length = std::min(piece.length, align_down(at, kChunk) + kChunk - at);
      co_await group.spawn(compare_piece(piece));
    } else if (options_.progress != nullptr) {
      options_.progress->add(piece.length);
    }
    at += piece.length;
  }
}

Task<void> Comparison::read_side(Image& image, std::uint64_t offset, std::span<std::byte> into) {
  Result<void> done = co_await image.read(offset, into).result();
  if (!done) {
    co_await fail(std::move(done.error())
                      .with_context("Error while reading offset " + std::to_string(offset) +
                                    " of " + image.filename()));
  }
}

// Mappings may begin within a sector, so bytes are looked for; it happens once.
std::uint64_t first_difference(std::span<const std::byte> a, std::span<const std::byte> b) {
  const auto found = std::mismatch(a.begin(), a.end(), b.begin());
  return static_cast<std::uint64_t>(found.first - a.begin());
}

std::uint64_t first_data(std::span<const std::byte> bytes) {
  const auto is_data = [](std::byte byte) { return byte != std::byte{0}; };
  return static_cast<std::uint64_t>(std::ranges::find_if(bytes, is_data) - bytes.begin());
}

Task<void> Comparison::compare_piece(Piece piece) {
  Result<void> done = co_await read_and_compare(piece).result();
  if (!done) failed_at_ = std::min(failed_at_, piece.offset);
  co_await std::move(done);
}

Task<void> Comparison::read_and_compare(Piece piece) {
  BufferPool& pool = Ring::current().buffers();
  const Buffer buffer = co_await pool.acquire(piece.length);
  std::uint64_t difference = kNowhere;
  if (piece.read_a && piece.read_b) {
    const Buffer other = co_await pool.acquire(piece.length);
    auto read_both = [&](TaskGroup& group) -> Task<void> {
      co_await group.spawn(read_side(a_, piece.offset, buffer.bytes()));
      co_await group.spawn(read_side(b_, piece.offset, other.bytes()));
    };
    co_await with_group(2, read_both);
    const bool equal = std::memcmp(buffer.data(), other.data(), piece.length) == 0;
    if (!equal) difference = first_difference(buffer.bytes(), other.bytes());
  } else {
    co_await read_side(piece.read_a ? a_ : b_, piece.offset, buffer.bytes());
    if (!is_zero(buffer.bytes())) difference = first_data(buffer.bytes());
  }
  if (difference != kNowhere) {
    const std::uint64_t sector = align_down(piece.offset + difference, kSectorSize);
    found(CompareOutcome::content_mismatch, sector);
  }
  if (options_.progress != nullptr) options_.progress->add(piece.length);
}

}  // namespace

Task<CompareResult> compare_images(Image& a, Image& b, CompareOptions options) {
  Comparison comparison(a, b, options);
  co_return co_await comparison.run();
}

}  // namespace platter
