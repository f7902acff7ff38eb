#include "formats/qcow2/cluster_map.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/task_group.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kReadAhead = 4 * kMiB;   // of tables
constexpr std::uint64_t kReadAtOnce = 1 * kMiB;  // in one request
constexpr std::size_t kReadsAtOnce = 32;

}  // namespace

CompressedPlace compressed_place(L2Entry entry, unsigned cluster_bits) noexcept {
  const unsigned offset_bits = 62 - (cluster_bits - 8);
  const std::uint64_t offset = entry.descriptor() & ((std::uint64_t{1} << offset_bits) - 1);
  const std::uint64_t more_sectors = entry.descriptor() >> offset_bits;
  return {offset, (more_sectors + 1) * kSectorSize - offset % kSectorSize};
}

// Gathers runs, joins what goes on, and knows when enough is there.
class ClusterMap::Collector {
 public:
  explicit Collector(std::vector<Mapping>& out, std::size_t count_max)
      : out_(&out), count_max_(count_max) {}
  explicit Collector(Mapping& one) : one_(&one), count_max_(1) {}

  // False, and nothing taken, once there is no room.
  bool add(const Mapping& run) {
    if (count_ > 0 && goes_on(last(), run)) {
      last().length += run.length;
      return true;
    }
    if (count_ == count_max_) return false;
    ++count_;
    if (out_ != nullptr) {
      out_->push_back(run);
    } else {
      *one_ = run;
    }
    return true;
  }

 private:
  Mapping& last() { return out_ != nullptr ? out_->back() : *one_; }
  static bool goes_on(const Mapping& last, const Mapping& next) {
    if (last.kind != next.kind || last.file != next.file) return false;
    return last.file == nullptr || last.file_offset + last.length == next.file_offset;
  }
  std::vector<Mapping>* out_ = nullptr;
  Mapping* one_ = nullptr;
  std::size_t count_max_;
  std::size_t count_ = 0;
};

ClusterMap::ClusterMap(const Header& header, File& metadata, File& data, MetadataCache& cache)
    : header_(header),
      metadata_(metadata),
      data_(data),
      cache_(cache),
      l1_(cache.slice_size()),
      slice_bits_(
          static_cast<unsigned>(std::countr_zero(cache.slice_size() / header.l2_entry_size()))) {}

std::unexpected<Error> ClusterMap::corrupt(std::string_view what, std::uint64_t value,
                                           std::uint64_t guest_offset) const {
  return fail(ErrorKind::corrupt_image,
              fmt::format("'{}': {} {:#x} for the guest's offset {:#x} is not possible",
                          metadata_.name(), what, value, guest_offset));
}

Task<void> ClusterMap::load_l1(std::uint64_t offset, std::uint32_t entries) {
  return l1_.load(metadata_, offset, entries, "L1 table");
}

Result<std::uint64_t> ClusterMap::l2_table(std::uint64_t offset) const {
  const std::uint64_t index = offset >> table_bits();
  if (index >= l1_.size()) return 0;
  const std::uint64_t table = L1Entry(l1_[index]).offset();
  if (is_aligned(table, header_.cluster_size())) return table;
  return corrupt("L2 table offset", table, offset);
}

Task<EntryRef> ClusterMap::entry_at(std::uint64_t table, std::uint64_t offset) {
  const std::uint64_t entries = std::uint64_t{1} << header_.l2_bits();
  const std::uint64_t index = (offset >> header_.cluster_bits) & (entries - 1);
  const std::uint64_t at = table + index * header_.l2_entry_size();
  EntryRef entry{.word = (at % cache_.slice_size()) / sizeof(std::uint64_t),
                 .extended = header_.extended_l2()};
  entry.slice = co_await cache_.get(align_down(at, cache_.slice_size()), TableKind::l2_table);
  co_return entry;
}

Task<CompressedPlace> ClusterMap::find_compressed(std::uint64_t offset) {
  const std::uint64_t table = co_await l2_table(offset);
  if (table == 0) co_return corrupt("L2 table offset", table, offset);
  const EntryRef ref = co_await entry_at(table, offset);
  const L2Entry entry = ref.get();
  if (!entry.compressed()) co_return corrupt("L2 entry", entry.raw(), offset);
  co_return compressed_place(entry, header_.cluster_bits);
}

Task<std::vector<Mapping>> ClusterMap::map(std::uint64_t offset, std::uint64_t length,
                                           std::size_t count_max) {
  std::vector<Mapping> mappings;
  Collector out(mappings, count_max);
  co_await collect(offset, length, out);
  co_return mappings;
}

Task<Mapping> ClusterMap::find(std::uint64_t offset, std::uint64_t length) {
  Mapping first;
  Collector out(first);
  co_await collect(offset, length, out);
  co_return first;
}

// Who asks for more than one table covers will want the next ones, too: they are read many at a
// time, those that lie next to each other in one go.
Task<void> ClusterMap::read_ahead(std::uint64_t offset, std::uint64_t end) {
  const std::uint64_t first = offset >> table_bits();
  const std::uint64_t last = (end - 1) >> table_bits();
  if (first == last) co_return;
  const std::uint64_t most = std::max<std::uint64_t>(1, kReadAhead >> header_.cluster_bits);
  ahead_begin_ = first;
  ahead_end_ = std::min({last + 1, first + most, std::uint64_t{l1_.size()}});
  auto read_all = [&](TaskGroup& group) -> Task<void> {
    std::uint64_t begin = 0;
    std::uint64_t length = 0;
    for (std::uint64_t index = first; index < ahead_end_; ++index) {
      const std::uint64_t table = co_await l2_table(index << table_bits());
      if (table == 0) continue;
      const bool goes_on = length > 0 && table == begin + length && length < kReadAtOnce;
      if (!goes_on && length > 0) {
        co_await group.spawn(cache_.prefetch(begin, length, TableKind::l2_table));
      }
      if (!goes_on) {
        begin = table;
        length = 0;
      }
      length += header_.cluster_size();
    }
    if (length > 0) co_await group.spawn(cache_.prefetch(begin, length, TableKind::l2_table));
  };
  co_await with_group(kReadsAtOnce, read_all);
}

Task<void> ClusterMap::collect(std::uint64_t offset, std::uint64_t length, Collector& out) {
  const std::uint64_t end = offset + length;
  bool room = true;
  while (room && offset < end) {
    if (!is_ahead(offset)) co_await read_ahead(offset, end);
    const std::uint64_t table = co_await l2_table(offset);
    if (table != 0) {
      room = co_await map_slice(offset, end, table, out);
      continue;
    }
    const std::uint64_t covered = ((offset >> table_bits()) + 1) << table_bits();
    const std::uint64_t run = std::min(end, covered) - offset;
    room = out.add({.offset = offset, .length = run, .kind = MappingKind::unallocated});
    offset += run;
  }
}

// How many entries from `ref` on, at most `count`, go on where the one before ends: places one
// cluster apart, or none at all. All of them are as valid as the first one.
std::size_t ClusterMap::entries_in_a_row(const EntryRef& ref, std::size_t count) const {
  const L2Entry first = ref.get();
  if (ref.extended || first.compressed()) return 1;
  const std::uint64_t step = placed(first) ? header_.cluster_size() : 0;
  if (first.offset() + count * step > kHostOffsetMax) return 1;
  std::uint64_t expected = first.raw();
  std::size_t found = 1;
  while (found < count && ref.slice->entry(ref.word + found) == (expected += step)) ++found;
  return found;
}

// Takes entries up to the end of a slice, or of the range, or of the room; moves `offset` on.
Task<bool> ClusterMap::map_slice(std::uint64_t& offset, std::uint64_t end, std::uint64_t table,
                                 Collector& out) {
  EntryRef ref = co_await entry_at(table, offset);
  const std::size_t words = header_.l2_entry_size() / sizeof(std::uint64_t);
  const std::size_t slice_words = cache_.slice_size() / sizeof(std::uint64_t);
  while (ref.word < slice_words && offset < end) {
    const std::uint64_t in_cluster = offset % header_.cluster_size();
    const std::uint64_t clusters =
        (in_cluster + (end - offset) + header_.cluster_size() - 1) >> header_.cluster_bits;
    const std::size_t count =
        entries_in_a_row(ref, std::min<std::uint64_t>(clusters, (slice_words - ref.word) / words));
    const std::uint64_t run = std::min((count << header_.cluster_bits) - in_cluster, end - offset);
    co_await check(ref.get(), offset);
    if (!add_entry(ref.get(), offset, run, out)) co_return false;
    offset += run;
    ref.word += count * words;
  }
  co_return true;
}

Result<void> ClusterMap::check(L2Entry entry, std::uint64_t offset) const {
  if (entry.compressed()) {
    if (header_.has_data_file()) return corrupt("the compressed L2 entry", entry.raw(), offset);
    return {};
  }
  const std::uint64_t host = entry.offset();
  if (!is_aligned(host, header_.cluster_size())) return corrupt("cluster offset", host, offset);
  if (header_.has_data_file() && placed(entry) &&
      host != align_down(offset, header_.cluster_size())) {
    return corrupt("data file offset", host, offset);
  }
  if (header_.extended_l2() && ((entry.allocated_bits() & entry.zero_bits()) != 0 ||
                                (entry.allocated_bits() != 0 && !placed(entry)))) {
    return corrupt("subcluster bitmap", entry.allocated_bits(), offset);
  }
  return {};
}

bool ClusterMap::add_entry(L2Entry entry, std::uint64_t offset, std::uint64_t length,
                           Collector& out) {
  if (entry.compressed()) {
    return out.add({.offset = offset, .length = length, .kind = MappingKind::compressed});
  }
  if (header_.extended_l2()) return add_subclusters(entry, offset, length, out);
  Mapping run{.offset = offset, .length = length, .kind = MappingKind::unallocated};
  const bool zero = header_.version >= 3 && entry.zero_flag();
  if (zero) run.kind = MappingKind::zero;
  if (placed(entry)) {
    if (!zero) run.kind = MappingKind::data;
    run.file = &data_;
    run.file_offset = entry.offset() + offset % header_.cluster_size();
  }
  return out.add(run);
}

bool ClusterMap::add_subclusters(L2Entry entry, std::uint64_t offset, std::uint64_t length,
                                 Collector& out) {
  const std::uint64_t size = header_.cluster_size() / kSubclusters;
  const std::uint64_t guest_cluster = align_down(offset, header_.cluster_size());
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const auto number = static_cast<unsigned>((offset - guest_cluster) / size);
    Mapping run{.offset = offset,
                .length = std::min(end, guest_cluster + (number + 1) * size) - offset};
    const bool data = ((entry.allocated_bits() >> number) & 1) != 0;
    const bool zero = ((entry.zero_bits() >> number) & 1) != 0;
    run.kind = data ? MappingKind::data : zero ? MappingKind::zero : MappingKind::unallocated;
    if (placed(entry)) {
      run.file = &data_;
      run.file_offset = entry.offset() + (offset - guest_cluster);
    }
    if (!out.add(run)) return false;
    offset += run.length;
  }
  return true;
}

}  // namespace platter::qcow2
