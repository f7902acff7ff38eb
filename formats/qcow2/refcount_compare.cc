#include "formats/qcow2/refcount_compare.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"
#include "io/zero.h"

namespace platter::qcow2 {
namespace {

class Comparison {
 public:
  Comparison(CheckRun& run, RefcountFixes fixes, bool keep_disk_counts)
      : run_(run),
        fixes_(fixes),
        keep_(keep_disk_counts),
        batch_(run.file, run.cluster_size(), run.cancel),
        zeroes_(run.cluster_size()) {}

  Task<std::uint64_t> compare_all();

 private:
  // One refcount block, whether it is there or not.
  struct Block {
    std::uint64_t index;
    std::uint64_t offset;  // in the file; 0: none, all of its counts are 0
  };

  Task<void> compare_queued();
  Task<void> compare_block(const Block& block, std::span<std::byte> on_disk);
  void skip_block(const Block& block);
  template <class Width>
  bool compare_counts(Width width, const Block& block, std::span<std::byte> on_disk,
                      std::uint64_t count);
  void tell(const char* word, std::uint64_t cluster, std::uint64_t count,
            std::uint64_t references) {
    if (run_.messages.full()) {
      run_.messages.leave_out(1);
      return;
    }
    run_.messages.add(
        fmt::format("{} cluster {} refcount={} reference={}", word, cluster, count, references));
  }

  CheckRun& run_;
  RefcountFixes fixes_;
  bool keep_;
  TableBatch batch_;
  std::vector<std::byte> zeroes_;
  std::vector<Block> queue_;
  std::vector<std::uint64_t> offsets_;
  std::uint64_t end_ = 1;  // of the image, in clusters; the header's is there in any case
  bool told_of_place_ = false;
};

// True if a count was corrected in `on_disk`.
template <class Width>
bool Comparison::compare_counts(Width width, const Block& block, std::span<std::byte> on_disk,
                                std::uint64_t count) {
  bool changed = false;
  const std::uint64_t first = block.index * run_.block_counts();
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t stored = width.get(on_disk.data(), i);
    const std::uint64_t references = width.get(run_.counts.data(), first + i);
    if (stored != 0 || references != 0) end_ = std::max(end_, first + i + 1);
    if (stored == references) continue;
    const bool leak = stored > references;
    const bool fix = stored != 0 && (leak ? fixes_.leaks : fixes_.corruptions);
    if (stored == 0) run_.rebuild = true;
    tell(fix ? "Repairing" : leak ? "Leaked" : "ERROR", first + i, stored, references);
    if (fix) {
      width.set(on_disk.data(), i, references);
      changed = true;
      ++(leak ? run_.report.leaks_fixed : run_.report.corruptions_fixed);
    } else {
      ++(leak ? run_.report.leaks : run_.report.corruptions);
    }
  }
  return changed;
}

Task<void> Comparison::compare_block(const Block& block, std::span<std::byte> on_disk) {
  const std::uint64_t first = block.index * run_.block_counts();
  const std::uint64_t count = std::min(run_.block_counts(), run_.clusters - first);
  const std::span<std::byte> counted = run_.counts.bytes(first, run_.block_counts());
  const bool whole = count == run_.block_counts();
  if (whole && std::memcmp(counted.data(), on_disk.data(), on_disk.size()) == 0) {
    // Only the last block that is not empty tells where the image ends.
    if (is_zero(counted)) co_return;
    std::uint64_t last = first + count;
    while (run_.counts.get(last - 1) == 0) --last;
    end_ = std::max(end_, last);
    co_return;
  }
  const bool changed = with_refcount_width(run_.header.refcount_order, [&](auto width) {
    return compare_counts(width, block, on_disk, count);
  });
  if (changed) co_await run_.file.write(block.offset, on_disk);
  if (keep_) std::memcpy(counted.data(), on_disk.data(), on_disk.size());
}

// What a block at an impossible place counts is unknown.
void Comparison::skip_block(const Block& block) {
  if (!told_of_place_) {
    told_of_place_ = true;
    run_.messages.add(fmt::format(
        "qcow2: Image is corrupt: Refblock offset {:#x} unaligned (reftable index: {}); further "
        "non-fatal corruption events will be suppressed",
        block.offset, block.index == 0 ? "0" : fmt::format("{:#x}", block.index)));
  }
  const std::uint64_t first = block.index * run_.block_counts();
  const std::uint64_t last = std::min(first + run_.block_counts(), run_.clusters);
  run_.report.check_errors += last - first;
  std::uint64_t cluster = first;
  for (; cluster < last && !run_.messages.full(); ++cluster) {
    run_.messages.add(
        fmt::format("Can't get refcount for cluster {}: Input/output error", cluster));
  }
  run_.messages.leave_out(last - cluster);
}

Task<void> Comparison::compare_queued() {
  co_await batch_.read(offsets_);
  std::size_t slot = 0;
  for (const Block& block : queue_) {
    if (block.offset == 0) {
      // Fixing needs a block; where there is none, nothing is fixed and the zeroes stay zeroes.
      co_await compare_block(block, zeroes_);
    } else if (is_aligned(block.offset, run_.cluster_size())) {
      co_await compare_block(block, batch_.table(slot++));
    } else {
      skip_block(block);
    }
  }
  queue_.clear();
  offsets_.clear();
}

Task<std::uint64_t> Comparison::compare_all() {
  constexpr std::size_t kQueueMax = 65536;
  for (std::uint64_t index = 0; index * run_.block_counts() < run_.clusters; ++index) {
    const std::uint64_t entry = index < run_.refcount_table.size() ? run_.refcount_table[index] : 0;
    const Block block{.index = index, .offset = entry & kRefcountTableOffsetMask};
    queue_.push_back(block);
    if (block.offset != 0 && is_aligned(block.offset, run_.cluster_size())) {
      offsets_.push_back(block.offset);
    }
    if (offsets_.size() == batch_.capacity() || queue_.size() == kQueueMax) {
      co_await compare_queued();
    }
  }
  co_await compare_queued();
  co_return end_;
}

}  // namespace

Task<std::uint64_t> compare_refcounts(CheckRun& run, RefcountFixes fixes, bool keep_disk_counts) {
  Comparison comparison(run, fixes, keep_disk_counts);
  co_return co_await comparison.compare_all();
}

Task<std::optional<std::uint64_t>> DistantRefcounts::get(std::uint64_t cluster) {
  const std::uint64_t index = cluster / run_.block_counts();
  if (index >= run_.refcount_table.size()) co_return 0;
  const std::uint64_t offset = run_.refcount_table[index] & kRefcountTableOffsetMask;
  if (offset == 0) co_return 0;
  if (!is_aligned(offset, run_.cluster_size())) co_return std::nullopt;
  auto found = blocks_.find(offset);
  if (found == blocks_.end()) {
    if (++reads_ > kReadsMax) co_return std::nullopt;
    if (blocks_.size() == kCachedMax) blocks_.clear();
    std::vector<std::byte> block(run_.cluster_size());
    co_await read_zero_filled(run_.file, offset, block);
    found = blocks_.emplace(offset, std::move(block)).first;
  }
  const std::byte* const counts = found->second.data();
  co_return with_refcount_width(run_.header.refcount_order, [&](auto width) {
    return width.get(counts, cluster % run_.block_counts());
  });
}

}  // namespace platter::qcow2
