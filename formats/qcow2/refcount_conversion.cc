#include "formats/qcow2/refcount_conversion.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/refcount_width.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"
#include "io/zero.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kPieceMax = 1 * kMiB;
constexpr std::size_t kWritesAtOnce = 4;
constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kBlocksMax = kRefcountTableSizeMax / kWord;

// Counts that are in `from` from its first one on go to `into` from number `at` on.
void convert_counts(unsigned from_order, const std::byte* from, unsigned order, std::byte* into,
                    std::uint64_t at, std::uint64_t count) {
  with_refcount_width(from_order, [&](auto old_width) {
    with_refcount_width(order, [&](auto width) {
      for (std::uint64_t i = 0; i < count; ++i) width.set(into, at + i, old_width.get(from, i));
    });
  });
}

Task<void> write_piece(File& file, std::uint64_t offset, Buffer bytes, std::size_t size) {
  co_await file.write(offset, bytes.first(size));
}

}  // namespace

RefcountConversion::RefcountConversion(Writing& writing, Options options)
    : w_(writing),
      options_(std::move(options)),
      new_bits_(writing.header.cluster_bits + 3 - options_.order),
      window_(writing.header, writing.file, writing.refcounts.table(), options_.memory_max) {}

// What is in memory goes to the disk, where the counts are read.
Task<void> RefcountConversion::settle() {
  do {
    co_await w_.epochs.commit();
  } while (w_.epochs.has_changes());
}

// Whether a part of a block counts anything.
Result<bool> RefcountConversion::look_at(std::uint64_t first, std::uint64_t count,
                                         const std::byte* counts) const {
  const unsigned old_order = w_.header.refcount_order;
  if (is_zero({counts, static_cast<std::size_t>((count << old_order) / 8)})) return false;
  if (options_.order >= old_order) return true;
  const std::uint64_t most =
      with_refcount_width(options_.order, [](auto width) { return width.kMax; });
  return with_refcount_width(old_order, [&](auto width) -> Result<bool> {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t value = width.get(counts, i);
      if (value <= most) continue;
      return fail(ErrorKind::too_large,
                  fmt::format("Cannot decrease refcount entry width to {} bits: Cluster at offset "
                              "{:#x} has a refcount of {}",
                              1U << options_.order, (first + i) << w_.header.cluster_bits, value));
    }
    return true;
  });
}

// The new blocks that count something, in order.
Task<std::vector<std::uint64_t>> RefcountConversion::find_used_blocks() {
  std::vector<std::uint64_t> used;
  const unsigned old_bits = window_.block_bits();
  const unsigned part_bits = std::min(old_bits, new_bits_);
  const std::uint64_t parts = std::uint64_t{1} << (old_bits - part_bits);
  const std::uint64_t part_bytes = w_.header.cluster_size() / parts;
  const std::size_t blocks = w_.refcounts.table().size();
  for (std::uint64_t block = 0; block < blocks; ++block) {
    if (block == 0 || !window_.shows(block << old_bits)) {
      if (options_.cancel != nullptr) co_await options_.cancel->check();
      co_await window_.load(block);
    }
    const std::byte* const counts = window_.counts_of(block << old_bits);
    for (std::uint64_t i = 0; counts != nullptr && i < parts; ++i) {
      const std::uint64_t first = (block << old_bits) + (i << part_bits);
      const bool counts_some =
          co_await look_at(first, std::uint64_t{1} << part_bits, counts + i * part_bytes);
      const std::uint64_t wanted = first >> new_bits_;
      if (counts_some && (used.empty() || used.back() != wanted)) used.push_back(wanted);
    }
  }
  if (!used.empty() && used.back() >= kBlocksMax) {
    co_return fail(ErrorKind::too_large,
                   fmt::format("'{}': with reference counts of {} bits the refcount table would be "
                               "larger than {} MiB",
                               w_.file.name(), 1U << options_.order, kRefcountTableSizeMax / kMiB));
  }
  co_return used;
}

Task<void> RefcountConversion::verify() {
  co_await settle();
  (void)co_await find_used_blocks();
}

// False if all had a place. What is taken is counted by the old blocks, and then by the new ones:
// there may be more of these afterwards.
Task<bool> RefcountConversion::take_what_lacks(const std::vector<std::uint64_t>& blocks) {
  const std::uint64_t bytes = blocks.empty() ? kWord : (blocks.back() + 1) * kWord;
  const std::uint64_t clusters = (bytes + w_.header.cluster_size() - 1) >> w_.header.cluster_bits;
  const bool lacks = table_.count < clusters || places_.size() < blocks.size();
  if (table_.count < clusters) {
    if (table_.count > 0) co_await w_.allocator.release_unpublished(std::exchange(table_, {}));
    table_ = co_await w_.allocator.allocate(clusters);
  }
  while (places_.size() < blocks.size()) {
    const ClusterRun run = co_await w_.allocator.allocate_up_to(blocks.size() - places_.size());
    taken_.push_back(run);
    for (std::uint64_t i = 0; i < run.count; ++i) {
      places_.push_back(run.offset + (i << w_.header.cluster_bits));
    }
  }
  co_return lacks;
}

Task<RefcountConversion::Place> RefcountConversion::build() {
  Result<Place> place = co_await build_all().result();
  if (!place) co_await give_up();
  co_return std::move(place);
}

Task<RefcountConversion::Place> RefcountConversion::build_all() {
  co_await settle();
  std::vector<std::uint64_t> blocks = co_await find_used_blocks();
  for (;;) {
    const bool took = co_await take_what_lacks(blocks);
    if (!took) break;
    co_await settle();
    blocks = co_await find_used_blocks();
  }
  co_await write_blocks(blocks);
  co_await write_table(blocks);
  co_return Place{.table_offset = table_.offset,
                  .table_clusters = static_cast<std::uint32_t>(table_.count)};
}

// What can't be given back is counted and not used, no more.
Task<void> RefcountConversion::give_up() {
  const std::vector<ClusterRun> taken = std::exchange(taken_, {});
  const ClusterRun table = std::exchange(table_, {});
  places_.clear();
  if (w_.epochs.failure()) co_return;
  for (const ClusterRun& run : taken) {
    (void)co_await w_.allocator.release_unpublished(run).result();
  }
  if (table.count > 0) (void)co_await w_.allocator.release_unpublished(table).result();
}

// A new block's counts, from the old ones that have them.
Task<void> RefcountConversion::fill(std::uint64_t block, std::span<std::byte> into) {
  std::memset(into.data(), 0, into.size());
  const unsigned old_bits = window_.block_bits();
  const std::uint64_t begin = block << new_bits_;
  const std::uint64_t end = begin + (std::uint64_t{1} << new_bits_);
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t old_block = at >> old_bits;
    if (old_block >= w_.refcounts.table().size()) break;
    if (!window_.shows(at)) {
      if (options_.cancel != nullptr) co_await options_.cancel->check();
      co_await window_.load(old_block);
    }
    const std::uint64_t part_end = std::min(end, (old_block + 1) << old_bits);
    if (const std::byte* const counts = window_.counts_of(at); counts != nullptr) {
      const std::uint64_t skipped = at - (old_block << old_bits);
      convert_counts(w_.header.refcount_order, counts + (skipped << w_.header.refcount_order) / 8,
                     options_.order, into.data(), at - begin, part_end - at);
      const bool whole = part_end == (old_block + 1) << old_bits;
      if (whole && options_.on_done) options_.on_done(w_.header.cluster_size());
    }
    at = part_end;
  }
}

// Blocks whose places are neighbours by one request.
Task<void> RefcountConversion::write_blocks(std::vector<std::uint64_t> blocks) {
  const std::uint64_t size = w_.header.cluster_size();
  const std::size_t most = std::max<std::size_t>(1, kPieceMax / size);
  co_await window_.load(0);
  const auto write_all = [&](TaskGroup& group) -> Task<void> {
    for (std::size_t i = 0; i < blocks.size() && !group.failed();) {
      std::size_t end = i + 1;
      while (end < blocks.size() && end - i < most && places_[end] == places_[end - 1] + size) {
        ++end;
      }
      Buffer buffer = co_await Ring::current().buffers().acquire((end - i) * size);
      for (std::size_t k = i; k < end; ++k) {
        co_await fill(blocks[k], buffer.bytes().subspan((k - i) * size, size));
      }
      co_await group.spawn(write_piece(w_.file, places_[i], std::move(buffer), (end - i) * size));
      i = end;
    }
  };
  co_await with_group(kWritesAtOnce, write_all);
}

Task<void> RefcountConversion::write_table(const std::vector<std::uint64_t>& blocks) {
  std::vector<std::byte> bytes(table_.count << w_.header.cluster_bits);
  for (std::size_t i = 0; i < blocks.size(); ++i) set_table_word(bytes, blocks[i], places_[i]);
  co_await w_.file.write(table_.offset, bytes);
}

std::vector<std::uint64_t> RefcountConversion::old_clusters() const {
  std::vector<std::uint64_t> offsets;
  for (std::uint64_t i = 0; i < w_.header.refcount_table_clusters; ++i) {
    offsets.push_back(w_.header.refcount_table_offset + (i << w_.header.cluster_bits));
  }
  for (const std::uint64_t entry : w_.refcounts.table().entries()) {
    const std::uint64_t offset = entry & kRefcountTableOffsetMask;
    if (offset != 0) offsets.push_back(offset);
  }
  return offsets;
}

}  // namespace platter::qcow2
