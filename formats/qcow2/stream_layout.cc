#include "formats/qcow2/stream_layout.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "formats/qcow2/create.h"
#include "formats/qcow2/format.h"
#include "formats/qcow2/header_encode.h"
#include "formats/qcow2/refcount_width.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kCopied = std::uint64_t{1} << 63;
constexpr std::uint64_t kEntrySize = sizeof(be64);
// Of an extended entry: every subcluster is allocated.
constexpr std::uint64_t kAllAllocated = 0xffff'ffff;

constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t by) {
  return (value + by - 1) / by;
}

}  // namespace

Result<StreamLayout> StreamLayout::plan(CreateOptions options, std::vector<GuestRun> data) {
  const bool one_pass = !options.backing_file && !options.data_file &&
                        options.effective_preallocation() == Preallocation::off;
  if (!one_pass) {
    return fail(ErrorKind::unsupported,
                "an image with a backing file, a data file or preallocation can't be streamed");
  }
  Result<CreatePlan> empty = plan_image(options);
  if (!empty) return fail(std::move(empty.error()));
  StreamLayout layout;
  layout.header_ = std::move(empty->header);
  if (Result<void> placed = layout.place(options, data); !placed) {
    return fail(std::move(placed.error()));
  }
  return layout;
}

Result<void> StreamLayout::place(const CreateOptions& options, const std::vector<GuestRun>& data) {
  const std::uint64_t entries = header_.cluster_size() / kEntrySize;
  const std::uint64_t counts = header_.cluster_size() * 8 / options.refcount_bits;
  std::uint64_t data_clusters = 0;
  for (const GuestRun& run : data) {
    data_clusters += run.count;
    const std::uint64_t last = (run.first + run.count - 1) >> header_.l2_bits();
    std::uint64_t index = run.first >> header_.l2_bits();
    if (!l2_indices_.empty()) index = std::max(index, l2_indices_.back() + 1);
    for (; index <= last; ++index) l2_indices_.push_back(index);
  }
  const std::uint64_t l1_clusters = divide_up(header_.l1_size, entries);
  const std::uint64_t others = 1 + l1_clusters + l2_indices_.size() + data_clusters;
  std::uint64_t table_clusters = 1;
  for (std::uint64_t before = 0; before != block_count_ + table_clusters;) {
    before = block_count_ + table_clusters;
    block_count_ = divide_up(others + before, counts);
    table_clusters = divide_up(block_count_, entries);
  }
  if (table_clusters * header_.cluster_size() > kRefcountTableSizeMax) {
    return fail(ErrorKind::too_large, "the refcount table would be larger than qcow2 allows");
  }
  block_cluster_ = table_cluster_ + table_clusters;
  l1_cluster_ = block_cluster_ + block_count_;
  l2_cluster_ = l1_cluster_ + l1_clusters;
  data_cluster_ = l2_cluster_ + l2_indices_.size();
  end_cluster_ = data_cluster_ + data_clusters;
  std::uint64_t host = data_cluster_;
  for (const GuestRun& run : data) {
    runs_.push_back({run.first, host, run.count});
    host += run.count;
  }
  header_.refcount_table_offset = offset_of(table_cluster_);
  header_.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
  header_.l1_table_offset = header_.l1_size == 0 ? 0 : offset_of(l1_cluster_);
  Result<std::vector<std::byte>> bytes = encode_header(header_);
  if (!bytes) return fail(std::move(bytes.error()));
  header_bytes_ = *std::move(bytes);
  return {};
}

std::uint64_t StreamLayout::file_size() const noexcept { return offset_of(end_cluster_); }

StreamLayout::GuestRange StreamLayout::guest_range_at(std::uint64_t offset,
                                                      std::uint64_t length_max) const {
  const std::uint64_t cluster = offset >> header_.cluster_bits;
  const auto next = std::ranges::upper_bound(runs_, cluster, {}, &Run::host);
  const Run& run = *std::prev(next);
  const std::uint64_t within = offset - offset_of(run.host);
  return {.offset = offset_of(run.guest) + within,
          .length = std::min(length_max, offset_of(run.count) - within)};
}

void StreamLayout::fill(std::uint64_t offset, std::span<std::byte> into) const {
  while (!into.empty()) {
    const std::uint64_t cluster = offset >> header_.cluster_bits;
    const std::uint64_t within = offset - offset_of(cluster);
    const std::size_t length =
        std::min<std::uint64_t>(into.size(), header_.cluster_size() - within);
    fill_cluster(cluster, within, into.first(length));
    into = into.subspan(length);
    offset += length;
  }
}

// A part of one cluster; tables are asked for in whole entries.
void StreamLayout::fill_cluster(std::uint64_t cluster, std::uint64_t within,
                                std::span<std::byte> into) const {
  std::ranges::fill(into, std::byte{0});
  if (cluster == 0) {
    if (within >= header_bytes_.size()) return;
    const auto rest = std::span(header_bytes_).subspan(within);
    std::ranges::copy(rest.first(std::min(rest.size(), into.size())), into.begin());
    return;
  }
  if (cluster >= block_cluster_ && cluster < l1_cluster_) {
    fill_counts(cluster - block_cluster_, within, into);
    return;
  }
  for (std::size_t at = 0; at + kEntrySize <= into.size(); at += kEntrySize) {
    const be64 entry = entry_at(cluster, (within + at) / kEntrySize);
    std::memcpy(into.data() + at, &entry, sizeof entry);
  }
}

// Entry `index` of the part of a table that is in this cluster.
std::uint64_t StreamLayout::entry_at(std::uint64_t cluster, std::uint64_t index) const {
  const std::uint64_t entries = header_.cluster_size() / kEntrySize;
  if (cluster < block_cluster_) {
    const std::uint64_t block = (cluster - table_cluster_) * entries + index;
    return block < block_count_ ? offset_of(block_cluster_ + block) : 0;
  }
  if (cluster < l2_cluster_) {
    const std::uint64_t l1_index = (cluster - l1_cluster_) * entries + index;
    const auto found = std::ranges::lower_bound(l2_indices_, l1_index);
    if (found == l2_indices_.end() || *found != l1_index) return 0;
    return offset_of(l2_cluster_ + static_cast<std::uint64_t>(found - l2_indices_.begin())) |
           kCopied;
  }
  const std::uint64_t first = l2_indices_[cluster - l2_cluster_] << header_.l2_bits();
  const std::uint64_t words = header_.l2_entry_size() / kEntrySize;
  const std::uint64_t entry = l2_entry(first + index / words);
  if (index % words == 0) return entry;
  return entry == 0 ? 0 : kAllAllocated;
}

std::uint64_t StreamLayout::l2_entry(std::uint64_t guest_cluster) const {
  const auto next = std::ranges::upper_bound(runs_, guest_cluster, {}, &Run::guest);
  if (next == runs_.begin()) return 0;
  const Run& run = *std::prev(next);
  if (guest_cluster - run.guest >= run.count) return 0;
  return offset_of(run.host + (guest_cluster - run.guest)) | kCopied;
}

// Every cluster's count is 1, up to the last one.
void StreamLayout::fill_counts(std::uint64_t block, std::uint64_t within,
                               std::span<std::byte> into) const {
  const unsigned order = header_.refcount_order;
  const std::uint64_t first = (((block << header_.cluster_bits) + within) << 3) >> order;
  const std::uint64_t count = (into.size() << 3) >> order;
  const std::uint64_t used = first >= end_cluster_ ? 0 : std::min(count, end_cluster_ - first);
  with_refcount_width(order, [&](auto width) {
    for (std::uint64_t i = 0; i < used; ++i) decltype(width)::set(into.data(), i, 1);
  });
}

}  // namespace platter::qcow2
