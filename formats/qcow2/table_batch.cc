#include "formats/qcow2/table_batch.h"

#include <algorithm>

#include "io/check.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kMemory = 8 * kMiB;
constexpr std::size_t kRequestMax = 1 * kMiB;
constexpr std::size_t kRequestsAtOnce = 32;

}  // namespace

TableBatch::TableBatch(File& file, std::size_t table_size, const CancelToken* cancel)
    : file_(file),
      table_size_(table_size),
      capacity_(std::max<std::size_t>(1, kMemory / table_size)),
      cancel_(cancel) {}

Task<void> read_zero_filled(File& file, std::uint64_t offset, std::span<std::byte> into) {
  std::size_t count = 0;
  if (offset <= kMaxFileSize - into.size()) count = co_await file.read(offset, into);
  std::ranges::fill(into.subspan(count), std::byte{0});
}

Task<void> TableBatch::read_run(std::uint64_t offset, std::span<std::byte> into) {
  return read_zero_filled(file_, offset, into);
}

Task<void> TableBatch::read(std::span<const std::uint64_t> offsets) {
  PLATTER_CHECK(offsets.size() <= capacity_);
  if (cancel_ != nullptr) co_await cancel_->check();
  if (!memory_) {
    memory_.reset(static_cast<std::byte*>(
        ::operator new(capacity_ * table_size_, std::align_val_t{kAlignment})));
  }
  auto read_runs = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t first = 0; first < offsets.size() && !group.failed();) {
      std::size_t last = first + 1;
      while (last < offsets.size() && offsets[last] == offsets[last - 1] + table_size_ &&
             (last + 1 - first) * table_size_ <= kRequestMax) {
        ++last;
      }
      const std::span<std::byte> into(memory_.get() + first * table_size_,
                                      (last - first) * table_size_);
      co_await group.spawn(read_run(offsets[first], into));
      first = last;
    }
  };
  co_await with_group(kRequestsAtOnce, read_runs);
}

Task<void> write_new_table(File& file, std::uint64_t offset, std::span<const std::byte> bytes,
                           std::uint64_t cluster_size) {
  const std::size_t length = align_up(bytes.size(), std::min(cluster_size, 4 * kKiB));
  const Buffer buffer = co_await Ring::current().buffers().acquire(length);
  std::memcpy(buffer.data(), bytes.data(), bytes.size());
  std::memset(buffer.data() + bytes.size(), 0, length - bytes.size());
  co_await file.write(offset, buffer.bytes());
}

}  // namespace platter::qcow2
