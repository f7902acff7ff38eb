#include "formats/qcow2/bulk_references.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/refcount_array.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// Clusters [first, end) that the runs seen so far lie within.
void widen(ReferredRun& reach, const ReferredRun& run) {
  if (reach.count == 0) {
    reach = run;
    return;
  }
  const std::uint64_t end = std::max(reach.first + reach.count, run.first + run.count);
  reach.first = std::min(reach.first, run.first);
  reach.count = end - reach.first;
}

bool clear_flags(std::span<std::byte> bytes, std::size_t stride) {
  const std::size_t words = bytes.size() / sizeof(std::uint64_t);
  std::uint64_t any = 0;
  for (std::size_t i = 0; i < words; i += stride) any |= table_word(bytes, i);
  if ((any & kCopiedFlag) == 0) return false;
  for (std::size_t i = 0; i < words; i += stride) {
    set_table_word(bytes, i, table_word(bytes, i) & ~kCopiedFlag);
  }
  return true;
}

}  // namespace

BulkReferences::BulkReferences(const Header& header, File& file, const EntryTable& refcount_table,
                               Epochs& epochs, ClusterAllocator& allocator, std::size_t memory_max)
    : header_(header),
      file_(file),
      table_(refcount_table),
      epochs_(epochs),
      allocator_(allocator),
      window_(header, file, refcount_table, memory_max),
      memo_(header.cluster_size()) {}

Task<void> BulkReferences::load(std::uint64_t first_block) {
  if (first_block == 0 && current_) co_return;
  current_ = false;
  prepared_ = nullptr;
  co_await window_.load(first_block);
  current_ = window_.whole();
}

bool BulkReferences::in_window(const ReferredRun& reach) const noexcept {
  if (window_.whole()) return true;
  const unsigned bits = window_.block_bits();
  const std::uint64_t last = reach.first + reach.count - 1;
  return reach.count > 0 && (last >> bits) >= window_.first_block() &&
         (reach.first >> bits) < window_.next_block();
}

Result<void> BulkReferences::change_run(Change change, ReferredRun run, std::uint64_t weight) {
  const Result<bool> changed = window_.change(change, run.first, run.count, weight);
  if (!changed) return fail(changed.error().clone());
  freed_ = freed_ || *changed;
  return {};
}

Result<void> BulkReferences::change_table(Referrer& referrer, Change change, std::size_t table,
                                          std::span<const std::byte> bytes) {
  const std::uint64_t offset = referrer.tree.tables()[table];
  const std::uint64_t weight = referrer.tree.weight(table);
  ReferredRun& reach = referrer.reach[referrer.tree.group_of(table)];
  const auto visit = [&](ReferredRun run) {
    widen(reach, run);
    return change_run(change, run, weight);
  };
  Result<void> done = visit({offset >> header_.cluster_bits, 1});
  if (done) done = for_each_run(header_, bytes, visit);
  if (done) return {};
  return fail(
      std::move(done.error())
          .with_context(fmt::format("'{}': L2 table at offset {:#x}", file_.name(), offset)));
}

// Changes the counts that the window shows.
Task<void> BulkReferences::change_window(Referrer& referrer, Change change,
                                         const CancelToken* cancel) {
  current_ = false;
  freed_ = false;
  const bool first_time = referrer.reach.empty();
  if (first_time) referrer.reach.resize(referrer.tree.group_count());
  const auto wanted = [&](std::size_t group) {
    return first_time || in_window(referrer.reach[group]);
  };
  const auto visit = [&](std::size_t table, std::span<std::byte> bytes) -> Result<bool> {
    Result<void> changed = change_table(referrer, change, table, bytes);
    if (!changed) return fail(std::move(changed.error()));
    return false;
  };
  Result<void> done = co_await referrer.tree
                          .visit(file_, visit, {.wanted = wanted, .cancel = cancel, .memo = &memo_})
                          .result();
  if (!done && first_time) referrer.reach.clear();  // not all of it was seen
  co_await std::move(done);
  const bool freed = freed_;
  for (const ReferredRun& run : referrer.others) {
    Result<void> changed = change_run(change, run, 1);
    if (!changed) {
      co_await fail(std::move(changed.error()).with_context("'" + file_.name() + "'"));
    }
  }
  freed_ = freed;
}

Task<void> BulkReferences::verify(Referrer& referrer, Change change, const CancelToken* cancel) {
  current_ = false;
  std::uint64_t block = 0;
  do {
    co_await load(block);
    co_await change_window(referrer, change, cancel);
    block = window_.next_block();
  } while (block < table_.size());
  if (window_.whole()) prepared_ = &referrer;
}

Task<void> BulkReferences::apply(Referrer& referrer, Change change) {
  std::uint64_t block = 0;
  std::vector<bool> freed_tables(change == Change::lower ? referrer.tree.tables().size() : 0);
  do {
    if (std::exchange(prepared_, nullptr) != &referrer) {
      co_await load(block);
      co_await change_window(referrer, change, nullptr);
    }
    co_await window_.write();
    current_ = window_.whole();
    if (change == Change::lower) co_await reclaim(referrer, freed_tables);
    block = window_.next_block();
  } while (block < table_.size());
  for (std::size_t i = 0; i < freed_tables.size(); ++i) {
    if (!freed_tables[i]) continue;
    co_await allocator_.reclaim(referrer.tree.tables()[i] >> header_.cluster_bits, 1);
  }
  co_await epochs_.commit();
}

// Once nothing on disk refers to them, neither their contents nor a crash matter any more. But the
// tables are needed for the other parts of the counts.
Task<void> BulkReferences::reclaim(const Referrer& referrer, std::vector<bool>& freed_tables) {
  for (const ReferredRun& run : referrer.others) co_await reclaim_zeroes(run);
  if (!freed_) co_return;
  std::vector<ReferredRun> runs;
  for (std::size_t group = 0; group < referrer.tree.group_count(); ++group) {
    if (!in_window(referrer.reach[group])) continue;
    const auto wanted = [group](std::size_t candidate) { return candidate == group; };
    const auto visit = [&](std::size_t table, std::span<std::byte> bytes) -> Result<bool> {
      const std::uint64_t own = referrer.tree.tables()[table] >> header_.cluster_bits;
      if (window_.shows(own) && window_.get(own) == 0) freed_tables[table] = true;
      const auto take = [&](ReferredRun run) -> Result<void> {
        runs.push_back(run);
        return {};
      };
      Result<void> taken = for_each_run(header_, bytes, take);
      if (!taken) return fail(std::move(taken.error()));
      return false;
    };
    co_await referrer.tree.visit(file_, visit, {.wanted = wanted, .memo = &memo_});
    for (const ReferredRun& run : std::exchange(runs, {})) co_await reclaim_zeroes(run);
  }
}

Task<void> BulkReferences::reclaim_zeroes(ReferredRun run) {
  const std::uint64_t end = run.first + run.count;
  for (std::uint64_t at = run.first; at < end;) {
    std::uint64_t zeroes = at;
    while (zeroes < end && window_.shows(zeroes) && window_.get(zeroes) == 0) ++zeroes;
    if (zeroes > at) co_await allocator_.reclaim(at, zeroes - at);
    at = zeroes + 1;
  }
}

Task<void> BulkReferences::clear_copied(const TableTree& tree) {
  const std::size_t stride = header_.l2_entry_size() / sizeof(std::uint64_t);
  const auto visit = [stride](std::size_t, std::span<std::byte> bytes) -> Result<bool> {
    return clear_flags(bytes, stride);
  };
  return tree.visit(file_, visit, {.memo = &memo_});
}

bool BulkReferences::refresh_table(std::span<std::byte> bytes) const {
  const std::size_t stride = header_.l2_entry_size() / sizeof(std::uint64_t);
  const std::size_t words = bytes.size() / sizeof(std::uint64_t);
  const unsigned block_bits = window_.block_bits();
  const std::uint64_t in_block = (std::uint64_t{1} << block_bits) - 1;
  return with_refcount_width(header_.refcount_order, [&](auto width) {
    bool changed = false;
    std::uint64_t block = ~std::uint64_t{0};  // the one that `shown` and `counts` speak of
    bool shown = false;
    const std::byte* counts = nullptr;
    for (std::size_t i = 0; i < words; i += stride) {
      const std::uint64_t word = table_word(bytes, i);
      const std::uint64_t offset = L2Entry(word, 0).offset();
      if (offset == 0 || (word & kCompressedFlag) != 0) continue;
      const std::uint64_t cluster = offset >> header_.cluster_bits;
      if (cluster >> block_bits != block) {
        block = cluster >> block_bits;
        shown = window_.shows(cluster);
        counts = shown ? window_.counts_of(cluster) : nullptr;
      }
      if (!shown) continue;
      const bool only = counts != nullptr && width.get(counts, cluster & in_block) == 1;
      const std::uint64_t wanted = only ? word | kCopiedFlag : word & ~kCopiedFlag;
      if (wanted == word) continue;
      set_table_word(bytes, i, wanted);
      changed = true;
    }
    return changed;
  });
}

void BulkReferences::refresh_l1(EntryTable& l1) const {
  for (std::size_t i = 0; i < l1.size(); ++i) {
    const L1Entry entry(l1[i]);
    const std::uint64_t cluster = entry.offset() >> header_.cluster_bits;
    if (entry.offset() == 0 || !window_.shows(cluster)) continue;
    const bool only = window_.get(cluster) == 1;
    if (only != entry.copied()) l1.set(i, L1Entry::make(entry.offset(), only).raw());
  }
}

Task<void> BulkReferences::refresh_copied(const TableTree& tree, EntryTable& l1) {
  const auto visit = [this](std::size_t, std::span<std::byte> bytes) -> Result<bool> {
    return refresh_table(bytes);
  };
  std::uint64_t block = 0;
  do {
    co_await load(block);
    co_await tree.visit(file_, visit, {.memo = &memo_});
    refresh_l1(l1);
    block = window_.next_block();
  } while (block < table_.size());
}

}  // namespace platter::qcow2
