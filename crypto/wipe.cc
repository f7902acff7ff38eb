#include "crypto/wipe.h"

#include <sys/random.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter {
namespace {

// Large enough that a request's cost is nothing, small enough that a signal is heard soon. A discard
// of more than the device takes at once is cut up by the kernel.
constexpr std::uint64_t kZeroPiece = 16 * kMiB;
constexpr std::uint64_t kRandomPiece = 1 * kMiB;
constexpr std::uint64_t kDiscardPiece = 1024 * kMiB;
constexpr std::size_t kInFlight = 8;

std::uint64_t piece_of(WipeMethod method) {
  switch (method) {
    case WipeMethod::random: return kRandomPiece;
    case WipeMethod::discard: return kDiscardPiece;
    case WipeMethod::zero:
    case WipeMethod::none: break;
  }
  return kZeroPiece;
}

int fill_with_random(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::getrandom(bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return 0;
}

// What a discard that the device can't do says is success: so ask before.
bool can_discard(const File& device) {
  const std::optional<FileId> id = device.id();
  if (!device.traits().is_block_device || !id) return true;
  std::ifstream limit(fmt::format("/sys/dev/block/{}:{}/queue/discard_max_bytes", major(id->inode),
                                  minor(id->inode)));
  std::uint64_t bytes = 0;
  return !(limit >> bytes) || bytes != 0;
}

Task<void> write_random(File& device, std::uint64_t offset, std::uint64_t length) {
  Ring& ring = Ring::current();
  Buffer buffer = co_await ring.buffers().acquire(length);
  const std::span<std::byte> bytes = buffer.bytes();
  auto fill = [bytes] { return fill_with_random(bytes); };
  const int os_error = co_await ring.offload(fill);
  if (os_error != 0) co_await fail_errno(os_error, "get random bytes for", device.name());
  co_await device.write(offset, bytes);
}

Task<void> wipe_piece(File& device, WipeMethod method, std::uint64_t offset, std::uint64_t length,
                      const WipeProgress& progress) {
  switch (method) {
    case WipeMethod::none: break;
    case WipeMethod::zero:
      co_await device.write_zeroes(offset, length, ZeroMode::keep_allocated);
      break;
    case WipeMethod::discard: co_await device.discard(offset, length); break;
    case WipeMethod::random: co_await write_random(device, offset, length); break;
  }
  if (progress) progress(length);
}

Task<std::uint64_t> length_of_pass(File& device, const WipePolicy& policy) {
  if (policy.method == WipeMethod::none) co_return std::uint64_t{0};
  const std::uint64_t size = co_await device.size();
  co_return std::min(size, policy.first.value_or(size));
}

unsigned passes_of(const WipePolicy& policy) {
  return policy.method == WipeMethod::discard ? 1 : policy.passes;
}

Task<void> wipe_once(File& device, WipeMethod method, std::uint64_t length,
                     const CancelToken* cancel, const WipeProgress& progress) {
  auto pieces = [&](TaskGroup& group) -> Task<void> {
    const std::uint64_t step = piece_of(method);
    for (std::uint64_t offset = 0; offset < length && !group.failed(); offset += step) {
      co_await look_for_cancel(cancel);
      co_await group.spawn(
          wipe_piece(device, method, offset, std::min(step, length - offset), progress));
    }
  };
  co_await with_group(kInFlight, pieces);
  co_await device.flush();
}

}  // namespace

Task<std::uint64_t> wipe_total(File& device, const WipePolicy& policy) {
  co_return co_await length_of_pass(device, policy) * passes_of(policy);
}

Task<void> wipe(File& device, WipePolicy policy, const CancelToken* cancel, WipeProgress progress) {
  if (policy.method == WipeMethod::discard && !can_discard(device)) {
    co_await fail(
        ErrorKind::unsupported,
        fmt::format("Could not discard '{}': the device does not support it", device.name()));
  }
  const std::uint64_t length = co_await length_of_pass(device, policy);
  for (unsigned pass = 0; pass < passes_of(policy) && length > 0; ++pass) {
    co_await wipe_once(device, policy.method, length, cancel, progress);
  }
}

}  // namespace platter
