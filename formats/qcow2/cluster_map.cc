#include "formats/qcow2/cluster_map.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

constexpr std::size_t kSliceMax = 64 * kKiB;

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
  Collector(std::vector<Mapping>& out, std::size_t count_max) : out_(out), count_max_(count_max) {}

  // False, and nothing taken, once there is no room.
  bool add(const Mapping& run) {
    if (!out_.empty() && goes_on(out_.back(), run)) {
      out_.back().length += run.length;
      return true;
    }
    if (out_.size() == count_max_) return false;
    out_.push_back(run);
    return true;
  }

 private:
  static bool goes_on(const Mapping& last, const Mapping& next) {
    if (last.kind != next.kind || last.file != next.file) return false;
    return last.file == nullptr || last.file_offset + last.length == next.file_offset;
  }
  std::vector<Mapping>& out_;
  std::size_t count_max_;
};

ClusterMap::ClusterMap(const Header& header, File& metadata, File& data, std::uint64_t cache_memory)
    : header_(header),
      metadata_(metadata),
      data_(data),
      cache_(metadata, std::min<std::size_t>(header.cluster_size(), kSliceMax), cache_memory) {}

std::unexpected<Error> ClusterMap::corrupt(std::string_view what, std::uint64_t value,
                                           std::uint64_t guest_offset) const {
  return fail(ErrorKind::corrupt_image,
              fmt::format("'{}': {} {:#x} for the guest's offset {:#x} is not possible",
                          metadata_.name(), what, value, guest_offset));
}

Task<void> ClusterMap::load_l1(std::uint64_t offset, std::uint32_t entries) {
  l1_.assign(entries, 0);
  const std::size_t bytes = std::size_t{entries} * sizeof(std::uint64_t);
  if (bytes == 0) co_return;
  const std::span<std::byte> raw(reinterpret_cast<std::byte*>(l1_.data()), bytes);
  const std::size_t count = co_await metadata_.read(offset, raw);
  if (count < bytes) {
    co_await fail(ErrorKind::corrupt_image,
                  "'" + metadata_.name() + "': the L1 table ends past the end of the file");
  }
  for (std::uint64_t& entry : l1_) {
    if constexpr (std::endian::native == std::endian::little) entry = __builtin_bswap64(entry);
  }
}

// The host offset of the L2 table for a guest offset; 0: none.
Result<std::uint64_t> ClusterMap::l2_table(std::uint64_t offset) const {
  const std::uint64_t index = offset >> (header_.cluster_bits + header_.l2_bits());
  if (index >= l1_.size()) return 0;
  const std::uint64_t table = L1Entry(l1_[index]).offset();
  if (is_aligned(table, header_.cluster_size())) return table;
  return corrupt("L2 table offset", table, offset);
}

Task<L2Entry> ClusterMap::entry_at(std::uint64_t table, std::uint64_t index) {
  const std::uint64_t at = table + index * header_.l2_entry_size();
  const auto slice = co_await cache_.get(align_down(at, cache_.slice_size()));
  const std::size_t word = (at % cache_.slice_size()) / sizeof(std::uint64_t);
  co_return L2Entry(slice->entry(word), header_.extended_l2() ? slice->entry(word + 1) : 0);
}

Task<CompressedPlace> ClusterMap::find_compressed(std::uint64_t offset) {
  const std::uint64_t table = co_await l2_table(offset);
  const std::uint64_t entries = std::uint64_t{1} << header_.l2_bits();
  const std::uint64_t index = (offset >> header_.cluster_bits) & (entries - 1);
  if (table == 0) co_return corrupt("L2 table offset", table, offset);
  const L2Entry entry = co_await entry_at(table, index);
  if (!entry.compressed()) co_return corrupt("L2 entry", entry.raw(), offset);
  co_return compressed_place(entry, header_.cluster_bits);
}

Task<std::vector<Mapping>> ClusterMap::map(std::uint64_t offset, std::uint64_t length,
                                           std::size_t count_max) {
  std::vector<Mapping> mappings;
  Collector out(mappings, count_max);
  const std::uint64_t end = offset + length;
  const unsigned table_bits = header_.cluster_bits + header_.l2_bits();
  bool room = true;
  while (room && offset < end) {
    const std::uint64_t table = co_await l2_table(offset);
    if (table != 0) {
      room = co_await map_slice(offset, end, table, out);
      continue;
    }
    const std::uint64_t covered = ((offset >> table_bits) + 1) << table_bits;
    const std::uint64_t run = std::min(end, covered) - offset;
    room = out.add({.offset = offset, .length = run, .kind = MappingKind::unallocated});
    offset += run;
  }
  co_return mappings;
}

// Takes entries up to the end of a slice, or of the range, or of the room; moves `offset` on.
Task<bool> ClusterMap::map_slice(std::uint64_t& offset, std::uint64_t end, std::uint64_t table,
                                 Collector& out) {
  const std::uint64_t entries = std::uint64_t{1} << header_.l2_bits();
  std::uint64_t index = (offset >> header_.cluster_bits) & (entries - 1);
  const std::uint64_t at = table + index * header_.l2_entry_size();
  const std::uint64_t slice_at = align_down(at, cache_.slice_size());
  const auto slice = co_await cache_.get(slice_at);
  const std::uint64_t slice_end =
      std::min(slice_at + cache_.slice_size(), table + header_.cluster_size());
  const std::uint64_t last = (slice_end - table) / header_.l2_entry_size();
  for (; index < last && offset < end; ++index) {
    const std::size_t word =
        (table + index * header_.l2_entry_size() - slice_at) / sizeof(std::uint64_t);
    const L2Entry entry(slice->entry(word), header_.extended_l2() ? slice->entry(word + 1) : 0);
    const std::uint64_t in_cluster = offset % header_.cluster_size();
    const std::uint64_t run = std::min(header_.cluster_size() - in_cluster, end - offset);
    const bool taken = co_await add_entry(entry, offset, run, out);
    if (!taken) co_return false;
    offset += run;
  }
  co_return true;
}

Result<bool> ClusterMap::add_entry(L2Entry entry, std::uint64_t offset, std::uint64_t length,
                                   Collector& out) {
  if (entry.compressed()) {
    if (header_.has_data_file()) return corrupt("the compressed L2 entry", entry.raw(), offset);
    return out.add({.offset = offset, .length = length, .kind = MappingKind::compressed});
  }
  const std::uint64_t host = entry.offset();
  if (!is_aligned(host, header_.cluster_size())) return corrupt("cluster offset", host, offset);
  // In an external data file 0 is a place like any other: COPIED tells.
  const bool placed = host != 0 || (header_.has_data_file() && entry.copied());
  const std::uint64_t guest_cluster = align_down(offset, header_.cluster_size());
  if (header_.has_data_file() && placed && host != guest_cluster) {
    return corrupt("data file offset", host, offset);
  }
  if (header_.extended_l2()) {
    if ((entry.allocated_bits() & entry.zero_bits()) != 0 ||
        (entry.allocated_bits() != 0 && !placed)) {
      return corrupt("subcluster bitmap", entry.allocated_bits(), offset);
    }
    return add_subclusters(entry, offset, length, out);
  }
  Mapping run{.offset = offset, .length = length, .kind = MappingKind::unallocated};
  const bool zero = header_.version >= 3 && entry.zero_flag();
  if (zero) run.kind = MappingKind::zero;
  if (placed) {
    if (!zero) run.kind = MappingKind::data;
    run.file = &data_;
    run.file_offset = host + (offset - guest_cluster);
  }
  return out.add(run);
}

bool ClusterMap::add_subclusters(L2Entry entry, std::uint64_t offset, std::uint64_t length,
                                 Collector& out) {
  const std::uint64_t size = header_.cluster_size() / kSubclusters;
  const std::uint64_t guest_cluster = align_down(offset, header_.cluster_size());
  const bool placed = entry.offset() != 0 || (header_.has_data_file() && entry.copied());
  const std::uint64_t end = offset + length;
  while (offset < end) {
    const auto number = static_cast<unsigned>((offset - guest_cluster) / size);
    Mapping run{.offset = offset,
                .length = std::min(end, guest_cluster + (number + 1) * size) - offset};
    const bool data = ((entry.allocated_bits() >> number) & 1) != 0;
    const bool zero = ((entry.zero_bits() >> number) & 1) != 0;
    run.kind = data ? MappingKind::data : zero ? MappingKind::zero : MappingKind::unallocated;
    if (placed) {
      run.file = &data_;
      run.file_offset = entry.offset() + (offset - guest_cluster);
    }
    if (!out.add(run)) return false;
    offset += run.length;
  }
  return true;
}

}  // namespace platter::qcow2
