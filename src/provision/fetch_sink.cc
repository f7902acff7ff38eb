#include "src/provision/fetch_sink.h"

#include <algorithm>
#include <utility>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/zero.h"

namespace platter::provision {
namespace {

constexpr std::uint64_t kPiece = 1 * kMiB;
constexpr std::size_t kSparseBlock = 4096;

}  // namespace

FetchSink::FetchSink(File& target, const FetchOptions& options, std::string source_name)
    : target_(target), options_(options), source_name_(std::move(source_name)) {}

Result<void> FetchSink::check_size(std::uint64_t size) const {
  if (size <= options_.limits.size_max) return {};
  return fail(ErrorKind::too_large, "'" + source_name_ + "' is larger than " +
                                        std::to_string(options_.limits.size_max) +
                                        " bytes, which is the limit");
}

Task<void> FetchSink::begin(std::uint64_t offset) {
  const bool device = target_.traits().is_block_device;
  if (offset > co_await target_.size()) {
    co_await fail(ErrorKind::not_found, "'" + target_.name() + "' ends before byte " +
                                            std::to_string(offset) +
                                            ", from which on it was to be fetched");
  }
  if (const auto& expected = options_.limits.digest) {
    digest_ = co_await Digest::create(expected->algorithm);
    co_await digest_existing(offset);
  }
  // What is behind it may be of another version: only holes make it safe to leave zeroes out.
  if (!device) co_await target_.truncate(offset);
  written_ = offset;
  resumed_ = offset;
  tell_progress(offset);
}

Task<void> FetchSink::digest_existing(std::uint64_t length) {
  Buffer buffer = co_await Ring::current().buffers().acquire(kPiece);
  for (std::uint64_t at = 0; at < length;) {
    co_await look_for_cancel(options_.cancel);
    const std::span<std::byte> piece = buffer.first(std::min(kPiece, length - at));
    co_await read_exactly(target_, at, piece);
    co_await digest(piece);
    at += piece.size();
  }
}

Task<void> FetchSink::digest(std::span<const std::byte> bytes) {
  Digest& running = *digest_;
  Result<void> done =
      co_await Ring::current().offload([&running, bytes] { return running.update(bytes); });
  co_await std::move(done);
}

Task<void> FetchSink::take(const Read& read) {
  auto body = [this, &read](TaskGroup& group) { return produce(group, read); };
  // One consumer at a time: the pieces stay in order.
  Result<void> taken = co_await with_group(1, body).result();
  Result<void> sized;
  // Zeroes at the end were not written; the file's size tells how far the fetch came.
  if (!target_.traits().is_block_device) sized = co_await target_.truncate(written_).result();
  co_await std::move(taken);
  co_await std::move(sized);
}

Task<void> FetchSink::produce(TaskGroup& group, const Read& read) {
  for (std::uint64_t at = written_; !group.failed();) {
    co_await look_for_cancel(options_.cancel);
    // After a short piece up to the next multiple: aligned writes need no copy.
    Buffer buffer = co_await Ring::current().buffers().acquire(kPiece - at % kPiece);
    const std::size_t count = co_await read(buffer.bytes());
    if (count == 0) co_return;
    at += count;
    co_await check_size(at);
    co_await group.spawn(consume(std::move(buffer), count));
  }
}

Task<void> FetchSink::consume(Buffer buffer, std::size_t count) {
  if (digest_) co_await digest(buffer.first(count));
  std::uint64_t at = written_;
  for (std::span<const std::byte> rest = buffer.first(count); !rest.empty();) {
    bool zero = false;
    const std::size_t run = uniform_prefix(rest, kSparseBlock, zero);
    if (!zero) {
      co_await target_.write(at, rest.first(run));
    } else if (target_.traits().is_block_device) {
      co_await target_.write_zeroes(at, run, ZeroMode::may_unmap);
    }
    at += run;
    rest = rest.subspan(run);
  }
  written_ = at;
  tell_progress(at);
}

void FetchSink::tell_progress(std::uint64_t offset) {
  if (options_.progress == nullptr || offset <= told_) return;
  options_.progress->add(offset - std::exchange(told_, offset));
}

Task<FetchResult> FetchSink::finish() {
  FetchResult result{.size = written_, .resumed = resumed_};
  const auto& expected = options_.limits.digest;
  if (!expected) co_return result;
  result.digest = hex_text(co_await digest_->finish());
  if (result.digest != expected->hex) {
    co_await fail(ErrorKind::wrong_digest, "'" + source_name_ + "' has the " + expected->algorithm +
                                               " digest " + result.digest + ", and " +
                                               expected->hex + " was expected");
  }
  co_return result;
}

}  // namespace platter::provision
