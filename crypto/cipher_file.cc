#include "crypto/cipher_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter {
namespace {

// Encrypted on the way down by such pieces, of which each has a buffer.
constexpr std::size_t kPiece = 1 * kMiB;
// Less takes no longer than handing it to a worker and coming back.
constexpr std::size_t kInlineMax = 64 * kKiB;
// What one worker gets of a larger request.
constexpr std::size_t kPerWorker = 256 * kKiB;
constexpr std::size_t kPiecesInFlight = 8;

FileTraits traits_of(const FileTraits& below, std::uint32_t sector_size) {
  FileTraits traits = below;
  traits.request_alignment = std::max(below.request_alignment, sector_size);
  traits.in_memory = false;  // a request computes
  return traits;
}

}  // namespace

struct CipherFile::Range {
  std::uint64_t begin;
  std::uint64_t end;
};

CipherFile::CipherFile(std::unique_ptr<File> below, std::shared_ptr<SectorCipher> cipher,
                       std::uint64_t offset)
    : owned_(std::move(below)),
      below_(*owned_),
      cipher_(std::move(cipher)),
      offset_(offset),
      traits_(traits_of(below_.traits(), cipher_->sector_size())) {}

CipherFile::CipherFile(File& below, std::shared_ptr<SectorCipher> cipher, std::uint64_t offset)
    : below_(below),
      cipher_(std::move(cipher)),
      offset_(offset),
      traits_(traits_of(below_.traits(), cipher_->sector_size())) {}

CipherFile::Range CipherFile::sectors_around(std::uint64_t offset,
                                             std::uint64_t length) const noexcept {
  const std::uint32_t sector = cipher_->sector_size();
  return {align_down(offset, sector), align_up(offset + length, sector)};
}

bool CipherFile::is_whole(std::uint64_t offset, std::uint64_t length) const noexcept {
  return is_aligned(offset | length, cipher_->sector_size());
}

Result<void> CipherFile::check_place(std::uint64_t offset, std::uint64_t length) const {
  if (in_bounds(offset, length, kMaxFileSize - offset_ - cipher_->sector_size())) return {};
  return fail(ErrorKind::too_large, fmt::format("'{}': {} bytes at offset {} lie beyond any file",
                                                name(), length, offset));
}

Task<std::uint64_t> CipherFile::size() {
  const std::uint64_t below = co_await below_.size();
  co_return align_down(below - std::min(below, offset_), cipher_->sector_size());
}

Task<std::size_t> CipherFile::read(std::uint64_t offset, std::span<std::byte> into) {
  if (offset >= kMaxFileSize - offset_) co_return std::size_t{0};
  if (is_whole(offset, into.size())) co_return co_await read_sectors(offset, into);
  std::size_t done = 0;
  while (done < into.size()) {
    const std::uint64_t at = offset + done;
    const std::size_t wanted = std::min(into.size() - done, kPiece - at % kPiece);
    const Range range = sectors_around(at, wanted);
    const Buffer buffer = co_await Ring::current().buffers().acquire(range.end - range.begin);
    const std::size_t count = co_await read_sectors(range.begin, buffer.bytes());
    const std::uint64_t skipped = at - range.begin;
    const std::size_t got = std::min<std::size_t>(count - std::min(count, skipped), wanted);
    std::memcpy(into.data() + done, buffer.data() + skipped, got);
    done += got;
    if (got < wanted) break;
  }
  co_return done;
}

Task<std::size_t> CipherFile::read_sectors(std::uint64_t offset, std::span<std::byte> into) {
  const std::size_t read = co_await below_.read(offset_ + offset, into);
  const std::size_t count = align_down(read, cipher_->sector_size());
  co_await crypt(/*encrypts=*/false, offset, into.first(count), into.data());
  co_return count;
}

Task<void> CipherFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_place(offset, data.size());
  const bool whole = is_whole(offset, data.size());
  const Range range = sectors_around(offset, data.size());
  RangeLock::Guard guard(lock_, range.begin, range.end - range.begin, /*exclusive=*/!whole);
  co_await guard.acquired();
  while (!data.empty()) {
    const std::size_t length = std::min(data.size(), kPiece - offset % kPiece);
    if (is_whole(offset, length)) {
      co_await write_sectors(offset, data.first(length));
    } else {
      co_await write_part(offset, data.first(length));
    }
    offset += length;
    data = data.subspan(length);
  }
}

Task<void> CipherFile::write_sectors(std::uint64_t offset, std::span<const std::byte> data) {
  const Buffer buffer = co_await Ring::current().buffers().acquire(data.size());
  co_await crypt(/*encrypts=*/true, offset, data, buffer.data());
  co_await below_.write(offset_ + offset, buffer.bytes());
}

// Sectors of which a part stays; what lies past the file's end begins as zeroes.
Task<void> CipherFile::write_part(std::uint64_t offset, std::span<const std::byte> data) {
  const Range range = sectors_around(offset, data.size());
  const Buffer buffer = co_await Ring::current().buffers().acquire(range.end - range.begin);
  const std::size_t count = co_await read_sectors(range.begin, buffer.bytes());
  std::memset(buffer.data() + count, 0, buffer.size() - count);
  std::memcpy(buffer.data() + (offset - range.begin), data.data(), data.size());
  co_await crypt(/*encrypts=*/true, range.begin, buffer.bytes(), buffer.data());
  co_await below_.write(offset_ + range.begin, buffer.bytes());
}

Task<void> CipherFile::write_zero_piece(std::uint64_t offset, std::span<const std::byte> zeroes) {
  return write(offset, zeroes);
}

Task<void> CipherFile::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode /*mode*/) {
  if (length == 0) co_return;
  co_await check_place(offset, length);
  const Buffer zeroes =
      co_await Ring::current().buffers().acquire(std::min<std::uint64_t>(length, kPiece));
  std::memset(zeroes.data(), 0, zeroes.size());
  auto write_pieces = [&](TaskGroup& group) -> Task<void> {
    const std::uint64_t end = offset + length;
    for (std::uint64_t at = offset; at < end && !group.failed();) {
      const std::size_t piece =
          std::min({end - at, kPiece - at % kPiece, std::uint64_t{zeroes.size()}});
      co_await group.spawn(write_zero_piece(at, zeroes.first(piece)));
      at += piece;
    }
  };
  co_await with_group(kPiecesInFlight, write_pieces);
}

Task<void> CipherFile::discard(std::uint64_t /*offset*/, std::uint64_t /*length*/) { co_return; }

Task<void> CipherFile::truncate(std::uint64_t size) {
  co_await check_place(0, size);
  co_await below_.truncate(offset_ + align_up(size, cipher_->sector_size()));
}

Task<void> CipherFile::allocate(std::uint64_t offset, std::uint64_t length) {
  co_await check_place(offset, length);
  co_await below_.allocate(offset_ + offset, length);
}

Task<std::vector<Extent>> CipherFile::extents(std::uint64_t offset, std::uint64_t length,
                                              std::size_t count_max) {
  std::vector<Extent> extents;
  const std::uint64_t end = co_await size();
  if (offset < end && length > 0 && count_max > 0) {
    extents.push_back({.offset = offset, .length = std::min(length, end - offset), .data = true});
  }
  co_return extents;
}

Task<void> CipherFile::close() {
  if (owned_) co_await owned_->close();
}

Task<void> CipherFile::crypt(bool encrypts, std::uint64_t offset, std::span<const std::byte> from,
                             std::byte* to) {
  if (from.size() <= kInlineMax) {
    co_await crypt_here(encrypts, offset, from, to);
    co_return;
  }
  if (from.size() <= kPerWorker) {
    co_await crypt_piece(encrypts, offset, from, to);
    co_return;
  }
  auto crypt_pieces = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t at = 0; at < from.size() && !group.failed(); at += kPerWorker) {
      const auto piece = from.subspan(at, std::min(kPerWorker, from.size() - at));
      co_await group.spawn(crypt_piece(encrypts, offset + at, piece, to + at));
    }
  };
  co_await with_group(kPiecesInFlight, crypt_pieces);
}

Task<void> CipherFile::crypt_piece(bool encrypts, std::uint64_t offset,
                                   std::span<const std::byte> from, std::byte* to) {
  auto work = [&] { return crypt_here(encrypts, offset, from, to); };
  co_await co_await Ring::current().offload(work);
}

Result<void> CipherFile::crypt_here(bool encrypts, std::uint64_t offset,
                                    std::span<const std::byte> from, std::byte* to) {
  const std::uint64_t number = offset / kSectorSize;
  Result<void> done =
      encrypts ? cipher_->encrypt(number, from, to) : cipher_->decrypt(number, from, to);
  if (done) return done;
  return fail(std::move(done.error()).with_context(name()));
}

}  // namespace platter
