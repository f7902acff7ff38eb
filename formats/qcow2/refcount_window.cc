#include "formats/qcow2/refcount_window.h"

#include <algorithm>

#include <fmt/format.h>

#include "formats/qcow2/refcount_array.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"
#include "io/task_group.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kRequestMax = 1 * kMiB;
constexpr std::size_t kRequestsAtOnce = 32;

// The index of the first count that can't be changed, or `count`. Nothing is changed then.
template <class Width>
std::uint64_t raise_counts(Width, std::byte* counts, std::uint64_t first, std::uint64_t count,
                           std::uint64_t by) {
  if (by >= Width::kMax) return 0;
  const std::uint64_t most = Width::kMax - by;
  bool good = true;
  for (std::uint64_t i = 0; i < count; ++i) good &= Width::get(counts, first + i) - 1 < most;
  if (!good) {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (Width::get(counts, first + i) - 1 >= most) return i;
    }
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    Width::set(counts, first + i, Width::get(counts, first + i) + by);
  }
  return count;
}

template <class Width>
std::uint64_t lower_counts(Width, std::byte* counts, std::uint64_t first, std::uint64_t count,
                           std::uint64_t by, bool& freed) {
  bool good = true;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t before = Width::get(counts, first + i);
    good &= before >= by;
    freed |= before == by;
  }
  if (!good) {
    for (std::uint64_t i = 0; i < count; ++i) {
      if (Width::get(counts, first + i) < by) return i;
    }
  }
  for (std::uint64_t i = 0; i < count; ++i) {
    Width::set(counts, first + i, Width::get(counts, first + i) - by);
  }
  return count;
}

}  // namespace

RefcountWindow::RefcountWindow(const Header& header, File& file, const EntryTable& table,
                               std::size_t memory_max)
    : header_(header),
      file_(file),
      table_(table),
      block_bits_(header.cluster_bits + 3 - header.refcount_order),
      capacity_(std::max<std::size_t>(1, memory_max >> header.cluster_bits)) {}

std::uint64_t RefcountWindow::offset_of(std::uint64_t block) const noexcept {
  return table_[block] & kRefcountTableOffsetMask;
}

std::uint64_t RefcountWindow::get(std::uint64_t cluster) const noexcept {
  const std::byte* const block = counts_of(cluster);
  if (block == nullptr) return 0;
  const std::uint64_t index = cluster & ((std::uint64_t{1} << block_bits_) - 1);
  return with_refcount_width(header_.refcount_order,
                             [&](auto width) { return width.get(block, index); });
}

std::vector<RefcountWindow::SlotRun> RefcountWindow::runs(bool changed_only) const {
  std::vector<SlotRun> found;
  const std::size_t most = std::max<std::size_t>(1, kRequestMax >> header_.cluster_bits);
  for (std::size_t slot = 0; slot < places_.size(); ++slot) {
    if (changed_only && !changed_[slot]) continue;
    SlotRun* const last = found.empty() ? nullptr : &found.back();
    const bool joins = last != nullptr && last->slot + last->count == slot && last->count < most &&
                       last->offset + last->count * header_.cluster_size() == places_[slot];
    if (joins) {
      ++last->count;
    } else {
      found.push_back({.offset = places_[slot], .slot = slot, .count = 1});
    }
  }
  return found;
}

Task<void> RefcountWindow::read_run(SlotRun run) {
  return read_zero_filled(file_, run.offset, bytes_of(run));
}
Task<void> RefcountWindow::write_run(SlotRun run) { return file_.write(run.offset, bytes_of(run)); }

Task<void> RefcountWindow::load(std::uint64_t first_block) {
  begin_block_ = end_block_ = first_block;
  slots_.clear();
  places_.clear();
  for (; end_block_ < table_.size(); ++end_block_) {
    const std::uint64_t offset = offset_of(end_block_);
    if (offset == 0) {
      slots_.push_back(kNone);
      continue;
    }
    if (places_.size() == capacity_) break;
    slots_.push_back(static_cast<std::uint32_t>(places_.size()));
    places_.push_back(offset);
  }
  changed_.assign(places_.size(), false);
  if (places_.empty()) co_return;
  memory_.reset();  // before the next one is taken
  memory_.reset(static_cast<std::byte*>(
      ::operator new(places_.size() * header_.cluster_size(), std::align_val_t{kAlignment})));
  const auto read_all = [this](TaskGroup& group) -> Task<void> {
    for (const SlotRun& run : runs(/*changed_only=*/false)) {
      if (group.failed()) break;
      co_await group.spawn(read_run(run));
    }
  };
  co_await with_group(kRequestsAtOnce, read_all);
}

Task<void> RefcountWindow::write() {
  const auto write_all = [this](TaskGroup& group) -> Task<void> {
    for (const SlotRun& run : runs(/*changed_only=*/true)) {
      if (group.failed()) break;
      co_await group.spawn(write_run(run));
    }
  };
  co_await with_group(kRequestsAtOnce, write_all);
  changed_.assign(places_.size(), false);
}

std::unexpected<Error> RefcountWindow::refuse(Change change, std::uint64_t cluster,
                                              std::uint64_t before) const {
  const std::uint64_t offset = cluster << header_.cluster_bits;
  if (change == Change::raise && before != 0) {
    return fail(
        ErrorKind::too_large,
        fmt::format("the reference count of the cluster at offset {:#x} can't rise from {}: "
                    "it has {} bits",
                    offset, before, 1U << header_.refcount_order));
  }
  return fail(ErrorKind::corrupt_image,
              fmt::format("the cluster at offset {:#x} has more references than its reference "
                          "count of {}",
                          offset, before));
}

Result<bool> RefcountWindow::change_block(Change change, std::uint64_t first, std::uint64_t count,
                                          std::uint64_t by) {
  const std::uint64_t block = first >> block_bits_;
  std::byte* const counts = block_at(block);
  if (counts == nullptr) return refuse(change, first, 0);
  const std::uint64_t index = first & ((std::uint64_t{1} << block_bits_) - 1);
  bool freed = false;
  const std::uint64_t done = with_refcount_width(header_.refcount_order, [&](auto width) {
    return change == Change::raise ? raise_counts(width, counts, index, count, by)
                                   : lower_counts(width, counts, index, count, by, freed);
  });
  if (done < count) return refuse(change, first + done, get(first + done));
  changed_[slots_[block - begin_block_]] = true;
  return change == Change::lower && freed;
}

Result<bool> RefcountWindow::change(Change change, std::uint64_t first, std::uint64_t count,
                                    std::uint64_t by) {
  const std::uint64_t per_block = std::uint64_t{1} << block_bits_;
  bool freed = false;
  while (count > 0) {
    const std::uint64_t part = std::min(count, per_block - (first & (per_block - 1)));
    const std::uint64_t block = first >> block_bits_;
    if (block >= table_.size()) return refuse(change, first, 0);
    if (block >= begin_block_ && block < end_block_) {
      Result<bool> changed = change_block(change, first, part, by);
      if (!changed) return changed;
      freed = freed || *changed;
    }
    first += part;
    count -= part;
  }
  return freed;
}

}  // namespace platter::qcow2
