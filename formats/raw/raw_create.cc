#include "formats/raw/raw_create.h"

#include <algorithm>
#include <cstring>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter {
namespace {

constexpr std::uint64_t kFirstBlock = 4096;
constexpr std::uint64_t kZeroesAtOnce = 1 * kMiB;
constexpr std::size_t kWritesInFlight = 8;
constexpr std::uint64_t kAllocateAtOnce = 256 * kMiB;  // between two looks at the cancel token
constexpr std::uint64_t kZeroesBetweenLooks = 64 * kMiB;

Task<void> reserve(File& file, std::uint64_t begin, std::uint64_t end, ResizeOptions options) {
  for (std::uint64_t at = begin; at < end;) {
    co_await look_for_cancel(options.cancel);
    const std::uint64_t piece = std::min(end - at, kAllocateAtOnce);
    co_await file.allocate(at, piece);
    at += piece;
  }
}

Task<void> write_piece(File& file, std::uint64_t offset, std::span<const std::byte> zeroes) {
  return file.write(offset, zeroes);
}

// Space that is reserved first makes the writes below neither extend the file nor fail half-way
// for want of space, where the filesystem can.
Task<void> write_all_zeroes(File& file, std::uint64_t begin, std::uint64_t end,
                            ResizeOptions options) {
  Result<void> reserved = co_await reserve(file, begin, end, options).result();
  if (!reserved && reserved.error().kind() != ErrorKind::unsupported) co_await std::move(reserved);
  if (!reserved) co_await file.truncate(end);
  const Buffer zeroes = co_await Ring::current().buffers().acquire(kZeroesAtOnce);
  std::memset(zeroes.data(), 0, zeroes.size());
  auto write_pieces = [&](TaskGroup& group) -> Task<void> {
    for (std::uint64_t at = begin; at < end && !group.failed();) {
      if (is_aligned(at, kZeroesBetweenLooks)) co_await look_for_cancel(options.cancel);
      // Whole pieces at multiples of their size, so that all but the ends are aligned.
      const std::uint64_t piece = std::min(end, align_down(at, kZeroesAtOnce) + kZeroesAtOnce) - at;
      co_await group.spawn(write_piece(file, at, zeroes.first(piece)));
      at += piece;
    }
  };
  co_await with_group(kWritesInFlight, write_pieces);
  co_await file.flush();
}

Task<void> allocate_first_block(File& file, std::uint64_t size) {
  const std::size_t length = std::min(size, kFirstBlock);
  if (length == 0) co_return;
  const Buffer zeroes = co_await Ring::current().buffers().acquire(length);
  std::memset(zeroes.data(), 0, length);
  co_await file.write(0, zeroes.bytes());
}

Task<void> grow(File& file, std::uint64_t before, std::uint64_t size, ResizeOptions options) {
  switch (options.preallocation) {
    case Preallocation::off:
      co_await file.truncate(size);
      if (before == 0) co_await allocate_first_block(file, size);
      break;
    case Preallocation::falloc: co_await reserve(file, before, size, options); break;
    case Preallocation::full: co_await write_all_zeroes(file, before, size, options); break;
    case Preallocation::metadata:
      co_await fail(ErrorKind::unsupported, "Unsupported preallocation mode: metadata");
  }
}

Result<void> check_device_size(const File& file, std::uint64_t device_size, std::uint64_t size,
                               const ResizeOptions& options) {
  if (options.preallocation != Preallocation::off) {
    return fail(ErrorKind::unsupported, "Unsupported preallocation mode '" +
                                            std::string(to_string(options.preallocation)) + "'");
  }
  if (size <= device_size) return {};
  return fail(ErrorKind::no_space, "'" + file.name() + "' is a device of " +
                                       std::to_string(device_size) + " bytes, smaller than the " +
                                       std::to_string(size) + " that the image needs");
}

}  // namespace

Task<void> create_raw(File& file, std::uint64_t size, ResizeOptions options) {
  if (file.traits().is_block_device) {
    const std::uint64_t device_size = co_await file.size();
    co_await check_device_size(file, device_size, size, options);
    co_return;
  }
  co_await resize_raw(file, 0, size, options);
}

Task<void> resize_raw(File& file, std::uint64_t before, std::uint64_t size, ResizeOptions options) {
  if (file.traits().is_block_device) {
    co_await check_device_size(file, before, size, options);
    co_return;
  }
  if (size <= before) {
    if (size < before && options.preallocation != Preallocation::off) {
      co_await fail(ErrorKind::invalid_argument,
                    "Preallocation can only be used for growing images");
    }
    co_await file.truncate(size);
    co_return;
  }
  Result<void> grown = co_await grow(file, before, size, options).result();
  if (grown) co_return;
  // Half-grown is not an option. Should this fail too, the first error is the one that matters.
  (void)co_await file.truncate(before).result();
  co_await std::move(grown);
}

}  // namespace platter
