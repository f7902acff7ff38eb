// DirectFile: writing, at any alignment.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/direct_io.h"
#include "io/direct_probe.h"

namespace platter {
namespace {

// The page cache works in folios, of at most this size: a write through it may write back all of
// one, and fails direct writes to any part of it.
constexpr std::uint64_t kFolioSizeMax = 2 * kMiB;

}  // namespace

Task<void> DirectFile::write(std::uint64_t offset, std::span<const std::byte> data) {
  co_await check_change("write", offset, data.size());
  if (data.empty()) co_return;
  if (!aligned(offset, data.data(), data.size())) {
    co_await write_bounced(offset, data);
    co_return;
  }
  RangeLock::Guard guard(writes_, offset, data.size(), /*exclusive=*/false);
  co_await guard.acquired();
  co_await write_aligned(offset, data);
}

Task<void> DirectFile::write_aligned(std::uint64_t offset, std::span<const std::byte> data) {
  std::size_t done = 0;
  unsigned attempts = 0;
  while (done < data.size()) {
    const int result = co_await ring_.write(file_, data.subspan(done), offset + done);
    if (is_transient(result)) {
      co_await back_off(ring_, attempts++);
      continue;
    }
    if (result < 0) co_await error(-result, "write", offset + done);
    if (result == 0) co_await error(ENOSPC, "write", offset + done);
    // A direct write can end short within a block: write that block again, whole.
    const std::size_t reached =
        align_down(done + static_cast<std::size_t>(result), traits_.request_alignment);
    if (reached == done) {
      if (attempts >= kFruitlessAttemptsMax) co_await error(EIO, "write", offset + done);
      co_await back_off(ring_, attempts++);
    }
    done = reached;
  }
}

// Cuts an unaligned write into pieces of whole blocks, each under its own lock.
Task<void> DirectFile::write_bounced(std::uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const std::uint64_t end = std::min(block_begin(offset) + kBounceSize, offset + data.size());
    const std::span<const std::byte> piece = data.first(end - offset);
    // The tail goes through the page cache, which nothing may pass by meanwhile.
    const bool tail = co_await ends_in_tail(end);
    const std::uint64_t begin = tail ? align_down(offset, kFolioSizeMax) : block_begin(offset);
    const std::uint64_t length = tail ? to_infinity(begin) : block_end(end) - begin;
    RangeLock::Guard guard(writes_, begin, length, /*exclusive=*/true);
    co_await guard.acquired();
    if (!tail && co_await ends_in_tail(end)) continue;  // the file was cut while this waited
    co_await write_blocks(offset, piece);
    offset = end;
    data = data.subspan(piece.size());
  }
}

// True if a write up to `end` ends within the file's last block, and that block is a partial one.
Result<bool> DirectFile::ends_in_tail(std::uint64_t end) const {
  const Result<std::uint64_t> size = size_now();
  if (!size) return fail(size.error().clone());
  return block_end(end) > std::max(*size, end);
}

// Under an exclusive lock on the blocks that the piece touches.
Task<void> DirectFile::write_blocks(std::uint64_t offset, std::span<const std::byte> data) {
  const std::uint64_t file_size = co_await size_now();
  std::uint64_t end = offset + data.size();
  const std::uint64_t new_size = std::max(file_size, end);
  if (block_end(end) > new_size) {
    // The last block is the file's partial one.
    const std::uint64_t tail = std::max(block_begin(end), offset);
    co_await write_tail(tail, data.subspan(tail - offset));
    end = tail;
    if (end == offset) co_return;
  }
  const std::uint64_t begin = block_begin(offset);
  Buffer bounce = co_await ring_.buffers().acquire(block_end(end) - begin);
  auto load = [&](std::uint64_t block) -> Task<void> {
    const std::span<std::byte> target =
        bounce.bytes().subspan(block - begin, traits_.request_alignment);
    const std::size_t count = co_await read_aligned(block, target);
    std::memset(target.data() + count, 0, target.size() - count);
  };
  const bool partial_head = begin < offset;
  const bool partial_tail = block_end(end) > end;
  if (partial_head) co_await load(begin);
  if (partial_tail && (!partial_head || block_begin(end) != begin)) co_await load(block_begin(end));
  std::memcpy(bounce.data() + (offset - begin), data.data(), end - offset);
  co_await write_aligned(begin, bounce.bytes());
}

Task<void> DirectFile::write_tail(std::uint64_t offset, std::span<const std::byte> data) {
  if (!buffered_fd_) buffered_fd_ = co_await reopen_buffered(file_.fd, name_, durability_);
  const int fd = buffered_fd_.get();
  // Blocking calls, and rare: at most one block, at the very end of the file.
  const int os_error = co_await ring_.offload([fd, offset, data] {
    for (std::size_t done = 0; done < data.size();) {
      const ssize_t count =
          ::pwrite(fd, data.data() + done, data.size() - done, static_cast<off_t>(offset + done));
      if (count == 0) return ENOSPC;
      if (count < 0 && !is_transient(-errno)) return errno;
      if (count > 0) done += static_cast<std::size_t>(count);
    }
    // Back on the device and out of the page cache before direct I/O meets this block again.
    constexpr unsigned kWait =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    const auto at = static_cast<off_t>(offset);
    const auto length = static_cast<off_t>(data.size());
    int result = 0;
    do {
      result = ::sync_file_range(fd, at, length, kWait);
    } while (result != 0 && errno == EINTR);
    return result == 0 || errno == ESPIPE || errno == ENOSYS ? 0 : errno;
  });
  if (os_error != 0) co_await error(os_error, "write", offset);
}

Task<void> DirectFile::writev(std::uint64_t offset, std::span<const iovec> data) {
  const std::size_t total = total_size(data);
  co_await check_change("write", offset, total);
  const bool one_request = data.size() <= IOV_MAX && aligned(offset, data);
  if (one_request) {
    RangeLock::Guard guard(writes_, offset, total, /*exclusive=*/false);
    co_await guard.acquired();
    const int result = co_await ring_.writev(file_, data, offset);
    if (result >= 0 && static_cast<std::size_t>(result) == total) co_return;
    if (result < 0 && !is_transient(result)) co_await error(-result, "write", offset);
  }
  // Short, or to be tried again, or unaligned: writing a piece twice does no harm.
  co_await File::writev(offset, data);
}

}  // namespace platter
