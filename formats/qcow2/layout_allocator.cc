#include "formats/qcow2/layout_allocator.h"

#include <algorithm>
#include <utility>

#include "formats/qcow2/format.h"
#include "io/bytes.h"
#include "io/check.h"

namespace platter::qcow2 {
namespace {

// Offsets in L2 entries have 56 bits.
constexpr std::uint64_t kOffsetMax = (std::uint64_t{1} << 56) - 1;

constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t by) {
  return value / by + (value % by != 0);
}

std::unexpected<Error> too_large() {
  return fail(ErrorKind::too_large, "the image's refcounts would be larger than qcow2 allows");
}

}  // namespace

void ClusterSet::insert(std::uint64_t first, std::uint64_t count) {
  if (count == 0) return;
  std::uint64_t end = first + count;
  auto next = runs_.upper_bound(first);
  if (next != runs_.begin() && std::prev(next)->second >= first) {
    --next;
    first = next->first;
  }
  while (next != runs_.end() && next->first <= end) {
    end = std::max(end, next->second);
    next = runs_.erase(next);
  }
  runs_[first] = end;
}

void ClusterSet::erase(std::uint64_t first, std::uint64_t count) {
  const std::uint64_t end = first + count;
  for (const Run& run : runs_within(first, end)) {
    auto holder = std::prev(runs_.upper_bound(run.first));
    const auto [holder_first, holder_end] = *holder;
    runs_.erase(holder);
    if (holder_first < run.first) runs_[holder_first] = run.first;
    if (run.end < holder_end) runs_[run.end] = holder_end;
  }
}

std::uint64_t ClusterSet::find_free(std::uint64_t from, std::uint64_t count) const {
  auto next = runs_.upper_bound(from);
  if (next != runs_.begin()) from = std::max(from, std::prev(next)->second);
  while (next != runs_.end() && next->first - from < count) {
    from = next->second;
    ++next;
  }
  return from;
}

std::uint64_t ClusterSet::count_free(std::uint64_t first, std::uint64_t count_max) const {
  const auto next = runs_.upper_bound(first);
  if (next != runs_.begin() && std::prev(next)->second > first) return 0;
  return next == runs_.end() ? count_max : std::min(count_max, next->first - first);
}

std::vector<ClusterSet::Run> ClusterSet::runs_within(std::uint64_t first, std::uint64_t end) const {
  std::vector<Run> found;
  auto run = runs_.upper_bound(first);
  if (run != runs_.begin() && std::prev(run)->second > first) --run;
  for (; run != runs_.end() && run->first < end; ++run) {
    found.push_back({std::max(run->first, first), std::min(run->second, end)});
  }
  return found;
}

LayoutAllocator::LayoutAllocator(unsigned cluster_bits, unsigned refcount_order)
    : cluster_bits_(cluster_bits),
      block_bits_(cluster_bits + 3 - refcount_order),
      entry_bits_(cluster_bits - 3),
      table_(entries_per_cluster()) {
  constexpr std::uint64_t kFirstBlock = 2;
  table_[0] = kFirstBlock;
  used_.insert(0, kFirstBlock + 1);
  search_from_ = kFirstBlock + 1;
}

std::uint64_t LayoutAllocator::table_clusters() const noexcept {
  return table_.size() >> entry_bits_;
}

bool LayoutAllocator::covered(std::uint64_t cluster) const noexcept {
  const std::uint64_t index = cluster >> block_bits_;
  return index < table_.size() && table_[index] != 0;
}

Result<std::uint64_t> LayoutAllocator::find(std::uint64_t count) {
  const std::uint64_t first = used_.find_free(search_from_, count);
  search_from_ = first + count;
  if (search_from_ - 1 > (kOffsetMax >> cluster_bits_)) return too_large();
  return first;
}

Result<std::uint64_t> LayoutAllocator::allocate(std::uint64_t count) {
  for (;;) {
    const Result<std::uint64_t> first = find(count);
    if (!first) return fail(first.error().clone());
    const Result<Outcome> marked = mark(*first, count);
    if (!marked) return fail(marked.error().clone());
    if (*marked == Outcome::done) return *first;
  }
}

Result<std::uint64_t> LayoutAllocator::allocate_at(std::uint64_t first, std::uint64_t count) {
  for (;;) {
    const std::uint64_t free = used_.count_free(first, count);
    const Result<Outcome> marked = mark(first, free);
    if (!marked) return fail(marked.error().clone());
    if (*marked == Outcome::done) return free;
  }
}

// `again`: a refcount block was missing and is there now, in what may be one of these clusters.
Result<LayoutAllocator::Outcome> LayoutAllocator::mark(std::uint64_t first, std::uint64_t count) {
  const std::uint64_t end = first + count;
  for (std::uint64_t at = first; at < end;) {
    if (!covered(at)) {
      Result<void> added = add_block(at);
      used_.erase(first, at - first);
      search_from_ = std::min(search_from_, first);
      if (!added) return fail(std::move(added.error()));
      return Outcome::again;
    }
    const std::uint64_t block_end = ((at >> block_bits_) + 1) << block_bits_;
    const std::uint64_t next = std::min(end, block_end);
    used_.insert(at, next - at);
    at = next;
  }
  return Outcome::done;
}

Result<void> LayoutAllocator::add_block(std::uint64_t cluster) {
  const Result<std::uint64_t> block = find(1);
  if (!block) return fail(block.error().clone());
  const std::uint64_t index = cluster >> block_bits_;
  if (*block >> block_bits_ == index) {
    used_.insert(*block, 1);  // it covers itself
  } else {
    const Result<Outcome> marked = mark(*block, 1);
    if (!marked) return fail(marked.error().clone());
    if (*marked == Outcome::again) return {};
  }
  if (index < table_.size()) {
    table_[index] = *block;
    return {};
  }
  const std::uint64_t blocks = divide_up(std::max(cluster, *block) + 1, block_size());
  const Result<std::uint64_t> end =
      replace_table(blocks << block_bits_, 0, /*exact=*/false, index, *block);
  if (!end) return fail(end.error().clone());
  return {};
}

// The least number of blocks that cover `clusters`, the blocks themselves and their table. There is
// no formula: the answer is where counting again changes nothing. `generous`: the table is counted
// half as large again.
std::uint64_t LayoutAllocator::blocks_needed(std::uint64_t clusters, bool generous) const {
  std::uint64_t blocks = 0;
  std::uint64_t table = 0;
  for (std::uint64_t total = 0;;) {
    const std::uint64_t before = total;
    blocks = divide_up(clusters + table + blocks, block_size());
    table = divide_up(blocks, entries_per_cluster());
    total = clusters + blocks + table;
    if (total != before) continue;
    if (!generous) return blocks;
    clusters += divide_up(table, 2);
    generous = false;
    total = 0;
  }
}

Result<std::uint64_t> LayoutAllocator::replace_table(std::uint64_t start, std::uint64_t additional,
                                                     bool exact, std::uint64_t block_index,
                                                     std::uint64_t block) {
  const std::uint64_t total = blocks_needed(start + additional, !exact);
  const std::uint64_t wanted = exact ? total : total + divide_up(total, 2);
  const std::uint64_t entries = align_up(wanted, entries_per_cluster());
  if (entries > kRefcountTableSizeMax / sizeof(std::uint64_t)) return too_large();
  std::vector<std::uint64_t> table = table_;
  table.resize(std::max<std::uint64_t>(entries, total));
  if (block != 0) table[block_index] = block;
  // New blocks first, then the table.
  std::uint64_t next = start;
  for (std::uint64_t i = start >> block_bits_; i < total; ++i) {
    if (table[i] == 0) table[i] = next++;
  }
  table.resize(entries);
  const std::uint64_t end = next + (entries >> entry_bits_);
  used_.insert(start, end - start);
  abandon_table();
  table_cluster_ = next;
  table_ = std::move(table);
  return end;
}

void LayoutAllocator::abandon_table() {
  const std::uint64_t clusters = table_clusters();
  for (std::uint64_t i = 0; i < clusters; ++i) {
    const auto part = table_.begin() + static_cast<std::ptrdiff_t>(i << entry_bits_);
    abandoned_[table_cluster_ + i].assign(
        part, part + static_cast<std::ptrdiff_t>(entries_per_cluster()));
  }
  used_.erase(table_cluster_, clusters);
  search_from_ = std::min(search_from_, table_cluster_);
}

Result<std::uint64_t> LayoutAllocator::make_refcount_area(std::uint64_t additional) {
  return replace_table(used_.end(), additional, /*exact=*/true, 0, 0);
}

std::map<std::uint64_t, std::vector<std::uint64_t>> LayoutAllocator::abandoned() const {
  std::map<std::uint64_t, std::vector<std::uint64_t>> free;
  for (const auto& [cluster, entries] : abandoned_) {
    if (!used_.contains(cluster)) free.emplace(cluster, entries);
  }
  return free;
}

}  // namespace platter::qcow2
