// Zeroes and discards: entries change, data need not move.
#include <algorithm>
#include <cstring>

#include "formats/qcow2/writer.h"
#include "io/bytes.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kZeroesAtOnce = 1 * kMiB;

}  // namespace

Task<void> Writer::write_zero_bytes(std::uint64_t offset, std::uint64_t length) {
  const Buffer zeroes = co_await Ring::current().buffers().acquire(std::min(length, kZeroesAtOnce));
  std::memset(zeroes.data(), 0, zeroes.size());
  while (length > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(length, zeroes.size());
    co_await write(offset, zeroes.first(part));
    offset += part;
    length -= part;
  }
}

Task<void> Writer::write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  const std::uint64_t end = offset + length;
  // The image's end ends its last cluster, too.
  const std::uint64_t whole_end = end == p_.image.virtual_size() ? align_up(end, cluster_size())
                                                                 : align_down(end, cluster_size());
  const std::uint64_t whole_begin = align_up(offset, cluster_size());
  if (whole_begin >= whole_end) {
    const std::uint64_t border = std::min(whole_begin, end);
    co_await zero_edge(offset, border - offset, mode);
    co_await zero_edge(border, end - border, mode);
    co_return;
  }
  co_await zero_edge(offset, whole_begin - offset, mode);
  // Version 2 has no zero flag: without a backing file, no entry says the same.
  const bool as_bytes =
      p_.header.version < 3 && (p_.image.backing() != nullptr || mode == ZeroMode::keep_allocated);
  if (as_bytes) {
    co_await write_zero_bytes(whole_begin, std::min(whole_end, end) - whole_begin);
  } else {
    const Removal how = p_.header.version < 3         ? Removal::forget
                        : mode == ZeroMode::may_unmap ? Removal::zero_unmap
                                                      : Removal::zero_keep;
    co_await remove(whole_begin, whole_end, how);
  }
  if (whole_end < end) co_await zero_edge(whole_end, end - whole_end, mode);
}

// Less than a cluster, within one.
Task<void> Writer::zero_edge(std::uint64_t offset, std::uint64_t length, ZeroMode mode) {
  if (length == 0) co_return;
  const std::uint64_t end = offset + length;
  const GuestRange zeroed = co_await zero_edge_in_entry(offset, end, mode);
  if (zeroed.begin > offset) co_await write_zero_bytes(offset, zeroed.begin - offset);
  if (zeroed.end < end) co_await write_zero_bytes(zeroed.end, end - zeroed.end);
}

// What of [offset, end) an entry can say is zeroes; empty, at `end`, where it can't. What lies
// around must be zeroes, and stay so until the entry says so: others write there.
Task<Writer::GuestRange> Writer::zero_edge_in_entry(std::uint64_t offset, std::uint64_t end,
                                                    ZeroMode mode) {
  if (p_.epochs.over_limit()) co_await p_.epochs.commit();
  const std::uint64_t begin = align_down(offset, cluster_size());
  RangeLock::Guard guard(locks_, begin, cluster_size(), /*exclusive=*/true);
  co_await guard.acquired();
  co_await p_.epochs.check_usable();
  if (p_.header.extended_l2()) {
    // A subcluster that is zeroes already, around the edge, becomes one as a whole.
    std::uint64_t whole_begin = align_down(offset, granule());
    std::uint64_t whole_end = align_up(end, granule());
    const bool head = co_await reads_as_zero(whole_begin, std::min(end, whole_begin + granule()));
    if (!head) whole_begin = align_up(offset, granule());
    const bool tail = co_await reads_as_zero(std::max(offset, whole_end - granule()), whole_end);
    if (!tail) whole_end = align_down(end, granule());
    if (whole_begin < whole_end) {
      const bool done = co_await zero_subclusters(whole_begin, whole_end - whole_begin);
      if (done) co_return GuestRange{.begin = whole_begin, .end = whole_end};
    }
  }
  const bool zero_already = co_await reads_as_zero(begin, begin + cluster_size());
  if (!zero_already) co_return GuestRange{.begin = end, .end = end};
  if (p_.header.version >= 3) {
    co_await remove_guarded(begin, begin + cluster_size(),
                            mode == ZeroMode::may_unmap ? Removal::zero_unmap : Removal::zero_keep);
  }
  co_return GuestRange{.begin = offset, .end = end};
}

// Whole subclusters of one cluster, by their bits; false where the entry has none.
// REQUIRES: the cluster is locked.
Task<bool> Writer::zero_subclusters(std::uint64_t offset, std::uint64_t length) {
  {
    const EntryRef look = co_await entry_to_look_at(offset);
    if (look.slice && look.get().compressed()) co_return false;
  }
  if (p_.header.autoclear(kRawDataFileBit)) {
    co_await p_.data.write_zeroes(offset, length, ZeroMode::may_unmap);
  }
  EntryRef ref = co_await p_.tables.entry_for_write(offset);
  const L2Entry old = ref.get();
  co_await p_.map.check(old, offset);
  const std::uint32_t which = subclusters(offset, offset + length);
  p_.tables.set(ref, 0,
                {old.raw(), L2Entry::bits(old.allocated_bits() & ~which, old.zero_bits() | which)});
  co_return true;
}

Task<void> Writer::discard(std::uint64_t offset, std::uint64_t length) {
  const std::uint64_t end = offset + length;
  const std::uint64_t begin = align_up(offset, cluster_size());
  const std::uint64_t whole_end = end == p_.image.virtual_size() ? align_up(end, cluster_size())
                                                                 : align_down(end, cluster_size());
  // Version 2 can't say "zeroes" where the backing file has something else.
  if (begin >= whole_end || (p_.header.version < 3 && p_.image.backing() != nullptr)) co_return;
  co_await remove(begin, whole_end, Removal::discard);
}

Task<void> Writer::forget_clusters(std::uint64_t begin, std::uint64_t end) {
  return remove(begin, end, Removal::forget);
}

Task<void> Writer::remove(std::uint64_t begin, std::uint64_t end, Removal how) {
  while (begin < end) {
    if (p_.epochs.over_limit()) co_await p_.epochs.commit();
    begin = co_await remove_in_slice(begin, end, how);
  }
}

// A place may have to be kept that need not.
Writer::Removal Writer::removal_of(L2Entry entry, Removal asked) const noexcept {
  const bool may_unmap = asked == Removal::discard || asked == Removal::zero_unmap;
  const bool keep = p_.discard_no_unref && may_unmap && !entry.compressed() && p_.map.placed(entry);
  return keep ? Removal::zero_keep : asked;
}

// What the entry becomes; nothing where it stays.
std::optional<L2Entry> Writer::removed_entry(L2Entry entry, Removal asked) const noexcept {
  const Removal how = removal_of(entry, asked);
  constexpr std::uint32_t kAll = ~std::uint32_t{0};
  const bool extended = p_.header.extended_l2();
  const bool has_contents = entry.compressed() || p_.map.placed(entry);
  const L2Entry zero_plain = extended ? L2Entry(0, L2Entry::bits(0, kAll)) : L2Entry(kZeroFlag, 0);
  std::optional<L2Entry> result;
  switch (how) {
    case Removal::forget: result = L2Entry(); break;
    case Removal::discard:
      if (!has_contents && p_.image.backing() == nullptr) return std::nullopt;
      result = p_.header.version >= 3 ? zero_plain : L2Entry();
      break;
    case Removal::zero_unmap: result = zero_plain; break;
    case Removal::zero_keep:
      if (entry.compressed() || !has_contents) {
        result = zero_plain;
      } else {
        result = extended ? L2Entry(entry.raw(), L2Entry::bits(0, kAll))
                          : L2Entry(entry.raw() | kZeroFlag, 0);
      }
  }
  if (*result == entry) return std::nullopt;
  return result;
}

// The part of [begin, end) that one slice of an L2 table knows; returns where that ends.
Task<std::uint64_t> Writer::remove_in_slice(std::uint64_t begin, std::uint64_t end, Removal how) {
  const std::uint64_t slice = std::uint64_t{1} << (p_.header.cluster_bits + p_.map.slice_bits());
  const std::uint64_t table = std::uint64_t{1} << p_.map.table_bits();
  const std::uint64_t first_table = co_await p_.map.l2_table(begin);
  const bool nothing_there =
      how == Removal::forget || (how == Removal::discard && p_.image.backing() == nullptr);
  if (first_table == 0 && nothing_there) co_return std::min(end, align_down(begin, table) + table);
  const std::uint64_t stop = std::min(end, align_down(begin, slice) + slice);
  RangeLock::Guard guard(locks_, begin, stop - begin, /*exclusive=*/true);
  co_await guard.acquired();
  co_await p_.epochs.check_usable();
  co_await remove_guarded(begin, stop, how);
  co_return stop;
}

// REQUIRES: the clusters are locked, and one slice of an L2 table knows them all.
Task<void> Writer::remove_guarded(std::uint64_t begin, std::uint64_t stop, Removal how) {
  if (p_.header.autoclear(kRawDataFileBit)) {
    const std::uint64_t limit = std::min(stop, p_.image.virtual_size());
    if (limit > begin) {
      co_await p_.data.write_zeroes(
          begin, limit - begin,
          how == Removal::zero_keep ? ZeroMode::keep_allocated : ZeroMode::may_unmap);
    }
  }
  EntryRef look = co_await entry_to_look_at(begin);
  const std::size_t count = (stop - begin) >> p_.header.cluster_bits;
  bool any = false;
  for (std::size_t i = 0; i < count && !any; ++i) {
    EntryRef at = look;
    at.word += i * (look.extended ? 2 : 1);
    const L2Entry entry = look.slice ? at.get() : L2Entry();
    any = removed_entry(entry, how).has_value();
  }
  look.slice.reset();
  if (!any) co_return;
  const EntryRef ref = co_await p_.tables.entry_for_write(begin);
  HostRange unneeded;
  for (std::size_t i = 0; i < count; ++i) {
    EntryRef at = ref;
    at.word += i * (ref.extended ? 2 : 1);
    const L2Entry entry = at.get();
    const std::optional<L2Entry> after = removed_entry(entry, how);
    if (!after) continue;
    co_await p_.map.check(entry, begin + (i << p_.header.cluster_bits));
    p_.tables.set(at, 0, *after);
    const bool keeps_place = removal_of(entry, how) == Removal::zero_keep && !entry.compressed();
    if (!keeps_place) drop_contents(entry, /*discard=*/true);
    if (!leaves_unneeded(entry, how)) continue;
    if (unneeded.end != entry.offset()) {
      co_await unmap_now(unneeded);
      unneeded.begin = entry.offset();
    }
    unneeded.end = entry.offset() + cluster_size();
  }
  co_await unmap_now(unneeded);
}

// What the entry referred to keeps its place, or has it in a data file, where nothing is counted.
// Else it is given back with its last reference.
bool Writer::leaves_unneeded(L2Entry entry, Removal how) const noexcept {
  if (how == Removal::forget || how == Removal::zero_keep) return false;
  if (entry.compressed() || !p_.map.placed(entry)) return false;
  if (&p_.data != &p_.file) return !p_.header.autoclear(kRawDataFileBit);
  return removal_of(entry, how) == Removal::zero_keep && entry.copied();
}

// That the file holds zeroes before an entry says so does not matter: the guest's range is one or
// the other until it is flushed. What a device makes of a discard may be neither.
Task<void> Writer::unmap_now(HostRange range) {
  if (range.begin >= range.end || p_.data.traits().is_block_device) co_return;
  const std::uint64_t end = std::min(range.end, co_await p_.data.size());
  if (range.begin >= end) co_return;
  const std::uint64_t length = end - range.begin;
  const bool damaged = &p_.data == &p_.file && p_.regions.find(range.begin, length);
  if (!damaged) co_await p_.data.write_zeroes(range.begin, length, ZeroMode::may_unmap);
}

}  // namespace platter::qcow2
