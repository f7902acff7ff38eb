#include "src/ops/rebase_copy.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/zero.h"

namespace platter {
namespace {

constexpr std::uint64_t kChunk = 512 * kKiB;
constexpr std::size_t kParallel = 16;
constexpr std::size_t kLargeParallel = 8;

// How far below `top` an image lies: 1 is its backing image. 0: not in its chain.
unsigned depth_below(Image& top, const Image* image) {
  unsigned depth = 0;
  for (Image* layer = &top; layer != nullptr; layer = layer->backing(), ++depth) {
    if (layer == image) return depth;
  }
  return 0;
}

// Past the end of an image are zeroes.
Task<void> read_with_zeroes(Image* image, std::uint64_t offset, std::span<std::byte> into,
                            std::string_view words) {
  const std::uint64_t size = image != nullptr ? image->virtual_size() : 0;
  const std::uint64_t there =
      size > offset ? std::min<std::uint64_t>(size - offset, into.size()) : 0;
  const std::span<std::byte> rest = into.subspan(there);
  if (!rest.empty()) std::memset(rest.data(), 0, rest.size());
  if (there == 0) co_return;
  Result<void> done = co_await image->read(offset, into.first(there)).result();
  if (!done) co_await fail(std::move(done.error()).with_context(std::string(words)));
}

}  // namespace

RebaseCopy::RebaseCopy(qcow2::Qcow2Image& overlay, Image* new_backing, const RebaseOptions& options)
    : overlay_(overlay),
      old_(overlay.backing()),
      new_(new_backing),
      options_(options),
      shared_depth_(depth_below(overlay, new_backing)),
      unit_(overlay.header().cluster_size()),
      chunk_(std::max(kChunk, unit_)),
      own_(&overlay, overlay.backing()),
      before_(&overlay, shared_depth_ != 0 ? new_backing : nullptr),
      after_(new_backing) {
  constexpr std::uint64_t kSubclusters = 32;
  if (overlay.header().extended_l2() && !options.compress) unit_ /= kSubclusters;
}

void RebaseCopy::tell(std::uint64_t bytes) const {
  if (options_.progress != nullptr) options_.progress->add(bytes);
}

Task<RebaseStats> RebaseCopy::run() {
  if (options_.progress != nullptr) options_.progress->set_total(overlay_.virtual_size());
  auto body = [this](TaskGroup& group) { return produce(group); };
  co_await with_group(chunk_ > kChunk ? kLargeParallel : kParallel, body);
  co_return stats_;
}

Task<void> RebaseCopy::produce(TaskGroup& group) {
  const std::uint64_t size = overlay_.virtual_size();
  for (std::uint64_t at = 0; at < size && !group.failed();) {
    if (options_.cancel != nullptr) co_await options_.cancel->check();
    const Mapping own = co_await own_.at(at);
    std::uint64_t next = at + own.length;
    if (own.kind != MappingKind::unallocated) {
      held_end_ = next;
    } else if (const Sight sight = co_await look(at); sight.same) {
      next = at + std::min({own.length, sight.before.length, sight.after.length});
    } else {
      const Piece piece = piece_at(at, next, sight);
      next = piece.end;
      co_await group.spawn(do_piece(piece));
      co_await yield();  // those that finish at once must not keep the loop from its signals
    }
    tell(next - at);
    at = next;
  }
}

Task<RebaseCopy::Sight> RebaseCopy::look(std::uint64_t at) {
  Sight sight;
  sight.before = co_await before_.at(at);
  const bool shared = shared_depth_ != 0 && sight.before.kind == MappingKind::unallocated &&
                      sight.before.depth == shared_depth_;
  if (shared) {
    // What the layers in between leave to the new backing image.
    sight.after.length = sight.before.length;
    sight.same = true;
    co_return sight;
  }
  sight.after = co_await after_.at(at);
  sight.before_is_zero = reads_as_zeroes(sight.before.kind);
  sight.after_is_zero = reads_as_zeroes(sight.after.kind);
  sight.same = same(sight);
  co_return sight;
}

bool RebaseCopy::same(const Sight& sight) {
  const Mapping& before = sight.before;
  const Mapping& after = sight.after;
  if (sight.before_is_zero && sight.after_is_zero) return true;
  if (before.kind != MappingKind::data || after.kind != MappingKind::data) return false;
  const auto id = before.file->id();
  return before.file_offset == after.file_offset &&
         (before.file == after.file || (id && id == after.file->id()));
}

std::uint64_t RebaseCopy::unit_end(std::uint64_t begin, std::uint64_t limit) const noexcept {
  return std::min(align_down(begin, unit_) + unit_, limit);
}

// Units that begin or end within a run are looked at as a whole: what was passed over is the same, or
// the overlay's own.
RebaseCopy::Piece RebaseCopy::piece_at(std::uint64_t at, std::uint64_t own_end,
                                       const Sight& sight) const noexcept {
  const std::uint64_t limit = std::min(align_down(at, chunk_) + chunk_, own_end);
  const std::uint64_t run_end =
      at + std::min({sight.before.length, sight.after.length, limit - at});
  Piece piece{.begin = std::max(align_down(at, unit_), held_end_),
              .end = unit_end(run_end - 1, limit)};
  const bool one_run = piece.begin == at && piece.end == run_end;
  piece.old_is_zero = one_run && sight.before_is_zero;
  piece.new_is_zero = one_run && sight.after_is_zero;
  return piece;
}

Task<void> RebaseCopy::do_piece(Piece piece) {
  BufferPool& pool = Ring::current().buffers();
  const std::uint64_t length = piece.end - piece.begin;
  const Buffer before = co_await pool.acquire(length);
  const Buffer after = co_await pool.acquire(length);
  stats_.compared += length;
  co_await read_both(piece, before.bytes(), after.bytes());
  co_await write_differing(piece, before.bytes(), after.bytes());
}

Task<void> RebaseCopy::read_both(Piece piece, std::span<std::byte> before,
                                 std::span<std::byte> after) {
  auto read = [&](TaskGroup& group) -> Task<void> {
    co_await group.spawn(read_with_zeroes(piece.old_is_zero ? nullptr : old_, piece.begin, before,
                                          "error while reading from old backing file"));
    co_await group.spawn(read_with_zeroes(piece.new_is_zero ? nullptr : new_, piece.begin, after,
                                          "error while reading from new backing file"));
  };
  co_await with_group(2, read);
}

RebaseCopy::Way RebaseCopy::way_of(std::uint64_t begin, std::uint64_t end,
                                   std::span<const std::byte> before,
                                   std::span<const std::byte> after) const noexcept {
  if (std::memcmp(before.data(), after.data(), before.size()) == 0) return Way::none;
  if (is_zero(before)) return Way::zero;
  // A part of a cluster (the other subclusters are the overlay's own) can't be compressed.
  const std::uint64_t cluster_end =
      std::min(align_down(begin, unit_) + unit_, overlay_.virtual_size());
  const bool whole = is_aligned(begin, unit_) && end == cluster_end;
  return options_.compress && whole ? Way::compressed : Way::data;
}

// Runs of units that go the same way, in one request.
Task<void> RebaseCopy::write_differing(Piece piece, std::span<const std::byte> before,
                                       std::span<const std::byte> after) {
  const auto part = [&](std::span<const std::byte> bytes, std::uint64_t begin, std::uint64_t end) {
    return bytes.subspan(begin - piece.begin, end - begin);
  };
  Way way = Way::none;
  std::uint64_t run = piece.begin;
  for (std::uint64_t at = piece.begin; at < piece.end;) {
    const std::uint64_t end = unit_end(at, piece.end);
    const Way here = way_of(at, end, part(before, at, end), part(after, at, end));
    if (here != way) {
      co_await write_run(way, run, part(before, run, at));
      way = here;
      run = at;
    }
    at = end;
  }
  co_await write_run(way, run, part(before, run, piece.end));
}

Task<void> RebaseCopy::write_run(Way way, std::uint64_t begin, std::span<const std::byte> data) {
  if (way == Way::none || data.empty()) co_return;
  Result<void> done;
  if (way == Way::zero) {
    done = co_await overlay_.write_zeroes(begin, data.size(), ZeroMode::may_unmap).result();
    stats_.zeroed += data.size();
  } else if (way == Way::data) {
    done = co_await overlay_.write(begin, data).result();
    stats_.written += data.size();
  } else {
    done = co_await overlay_.write_compressed(begin, data).result();
    stats_.written += data.size();
  }
  if (!done)
    co_await fail(std::move(done.error()).with_context("Error while writing to COW image"));
}

}  // namespace platter
