#include "src/ops/checksum.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "crypto/digest.h"
#include "io/async_event.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "io/zero.h"
#include "src/ops/mapping_cursor.h"

namespace platter {
namespace {

constexpr std::uint64_t kBlock = 1 * kMiB;  // of a tree, by definition; and what is read at once
constexpr std::size_t kParallel = 16;
// Zeroes are digested by such pieces, so that a cancellation is heard.
constexpr std::uint64_t kZeroPiece = 128 * kMiB;
constexpr std::string_view kTree = "-tree";

// Guest bytes from a multiple of kBlock on.
struct Piece {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;  // data: at most kBlock
  bool zero = false;
};

// Pieces are read, and a tree's leaves computed, in any order; what goes into the digest takes turns.
using Turn = std::shared_ptr<AsyncEvent>;

class Checksumming {
 public:
  Checksumming(Image& image, const ChecksumOptions& options, Digest digest)
      : image_(image), options_(options), digest_(std::move(digest)), cursor_(&image) {}

  Task<std::string> run();

 private:
  Task<void> prepare_zeroes();
  Task<void> produce(TaskGroup& group);
  Task<Piece> next_piece(std::uint64_t at);
  Task<void> take_turn(Piece piece, Turn mine, Turn next);
  Task<void> digest_piece(Piece piece, AsyncEvent& mine);
  Task<void> digest_data(Piece piece, AsyncEvent& mine);
  Task<void> digest_zeroes(std::uint64_t length);
  Task<std::vector<std::byte>> leaf_of(std::span<const std::byte> block);
  Result<void> check_cancelled() const {
    return options_.cancel != nullptr ? options_.cancel->check() : Result<void>();
  }

  Image& image_;
  const ChecksumOptions& options_;
  Digest digest_;
  MappingCursor cursor_;
  std::uint64_t known_zero_ = 0;  // nothing but zeroes up to here, from the block in hand on
  bool failed_ = false;
  Buffer zeroes_;                     // one block
  std::vector<std::byte> zero_leaf_;  // its digest
};

Task<std::string> Checksumming::run() {
  if (options_.progress != nullptr) options_.progress->set_total(image_.virtual_size());
  co_await prepare_zeroes();
  auto body = [this](TaskGroup& group) { return produce(group); };
  co_await with_group(kParallel, body);
  co_return hex_text(co_await digest_.finish());
}

Task<void> Checksumming::prepare_zeroes() {
  zeroes_ = co_await Ring::current().buffers().acquire(kBlock);
  std::memset(zeroes_.data(), 0, zeroes_.size());
  if (!options_.algorithm.tree) co_return;
  Digest leaf = co_await Digest::create(options_.algorithm.digest);
  co_await leaf.update(zeroes_.bytes());
  zero_leaf_ = co_await leaf.finish();
}

Task<void> Checksumming::produce(TaskGroup& group) {
  Turn turn = std::make_shared<AsyncEvent>();
  turn->set();
  for (std::uint64_t at = 0; at < image_.virtual_size() && !group.failed();) {
    co_await look_for_cancel(options_.cancel);
    const Piece piece = co_await next_piece(at);
    Turn next = std::make_shared<AsyncEvent>();
    co_await group.spawn(take_turn(piece, turn, next));
    turn = std::move(next);
    at += piece.length;
  }
}

// Zeroes are whole blocks, or reach the image's end.
Task<Piece> Checksumming::next_piece(std::uint64_t at) {
  const std::uint64_t size = image_.virtual_size();
  const std::uint64_t limit = std::min(size, at + kZeroPiece);
  known_zero_ = std::max(known_zero_, at);
  while (known_zero_ < limit) {
    const Mapping run = co_await cursor_.at(known_zero_);
    if (!reads_as_zeroes(run.kind)) break;
    known_zero_ += run.length;
  }
  const std::uint64_t zero_end = known_zero_ >= limit ? limit : align_down(known_zero_, kBlock);
  if (zero_end > at) co_return Piece{.offset = at, .length = zero_end - at, .zero = true};
  co_return Piece{.offset = at, .length = std::min(kBlock, size - at)};
}

Task<void> Checksumming::take_turn(Piece piece, Turn mine, Turn next) {
  Result<void> done = co_await digest_piece(piece, *mine).result();
  // Those behind need not wait for what never comes.
  if (!done) failed_ = true;
  next->set();
  co_await std::move(done);
  if (options_.progress != nullptr) options_.progress->add(piece.length);
}

Task<void> Checksumming::digest_piece(Piece piece, AsyncEvent& mine) {
  if (!piece.zero) {
    co_await digest_data(piece, mine);
    co_return;
  }
  co_await mine.wait();
  co_await check_cancelled();
  if (!failed_) co_await digest_zeroes(piece.length);
}

Task<void> Checksumming::digest_data(Piece piece, AsyncEvent& mine) {
  const Buffer buffer = co_await Ring::current().buffers().acquire(piece.length);
  co_await image_.read(piece.offset, buffer.bytes());
  if (options_.algorithm.tree) {
    const std::vector<std::byte> leaf = co_await leaf_of(buffer.bytes());
    co_await mine.wait();
    if (!failed_) co_await digest_.update(leaf);
    co_return;
  }
  co_await mine.wait();
  if (failed_) co_return;
  co_await co_await Ring::current().offload(
      [this, bytes = buffer.bytes()] { return digest_.update(bytes); });
}

Task<std::vector<std::byte>> Checksumming::leaf_of(std::span<const std::byte> block) {
  Digest leaf = co_await Digest::create(options_.algorithm.digest);
  auto compute = [&]() -> Result<std::vector<std::byte>> {
    if (block.size() == kBlock && is_zero(block)) return zero_leaf_;
    if (auto updated = leaf.update(block); !updated) return fail(std::move(updated.error()));
    return leaf.finish();
  };
  co_return co_await Ring::current().offload(compute);
}

Task<void> Checksumming::digest_zeroes(std::uint64_t length) {
  if (!options_.algorithm.tree) {
    auto compute = [this, length]() mutable -> Result<void> {
      for (; length > 0; length -= std::min(length, kBlock)) {
        auto updated = digest_.update(zeroes_.first(std::min(length, kBlock)));
        if (!updated) return updated;
      }
      return {};
    };
    co_await co_await Ring::current().offload(compute);
    co_return;
  }
  for (; length >= kBlock; length -= kBlock) co_await digest_.update(zero_leaf_);
  if (length > 0) co_await digest_.update(co_await leaf_of(zeroes_.first(length)));
}

}  // namespace

Result<ChecksumAlgorithm> parse_checksum_algorithm(std::string_view name) {
  ChecksumAlgorithm algorithm{.digest = std::string(name), .tree = name.ends_with(kTree)};
  if (algorithm.tree) algorithm.digest.resize(name.size() - kTree.size());
  if (Result<Digest> digest = Digest::create(algorithm.digest); !digest) {
    return fail(std::move(digest.error()));
  }
  return algorithm;
}

Task<std::string> checksum_image(Image& image, ChecksumOptions options) {
  Digest digest = co_await Digest::create(options.algorithm.digest);
  Checksumming checksumming(image, options, std::move(digest));
  co_return co_await checksumming.run();
}

}  // namespace platter
