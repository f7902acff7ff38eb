#include "formats/qcow2/writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "io/ring.h"
#include "io/task_group.h"

namespace platter::qcow2 {

// Subclusters (the cluster itself, without extended entries) of one cluster as a bitmap.
// REQUIRES: both offsets lie within one cluster, or `end` at its end.
std::uint32_t Writer::subclusters(std::uint64_t begin, std::uint64_t end) const noexcept {
  const std::uint64_t size = cluster_size() / kSubclusters;
  const std::uint64_t first = begin % cluster_size() / size;
  const std::uint64_t last = (end - align_down(begin, cluster_size()) + size - 1) / size;
  const std::uint64_t below_last = (std::uint64_t{1} << last) - 1;
  return static_cast<std::uint32_t>(below_last & ~((std::uint64_t{1} << first) - 1));
}

// What a write of [offset, offset + length), within one cluster, can do with its entry.
Writer::Target Writer::target_of(L2Entry entry, std::uint64_t offset,
                                 std::uint64_t length) const noexcept {
  if (entry.compressed() || !p_.map.placed(entry) || !entry.copied()) return Target::fresh;
  if (p_.header.extended_l2()) {
    const std::uint32_t wanted = subclusters(offset, offset + length);
    return (wanted & ~entry.allocated_bits()) == 0 ? Target::in_place : Target::reuse;
  }
  return p_.header.version >= 3 && entry.zero_flag() ? Target::reuse : Target::in_place;
}

// The entry as it is; no slice where the whole table is missing.
Task<EntryRef> Writer::entry_to_look_at(std::uint64_t offset) {
  const std::uint64_t table = co_await p_.map.l2_table(offset);
  if (table == 0) co_return EntryRef();
  co_return co_await p_.map.entry_at(table, offset);
}

// Metadata of a damaged image may say that something else's bytes are free, or the guest's.
Task<void> Writer::check_place(std::uint64_t host, std::uint64_t length) {
  if (&p_.file != &p_.data) co_return;
  if (!in_bounds(host, length, p_.allocator.file_end())) {
    co_await fail(
        ErrorKind::corrupt_image,
        fmt::format("'{}': the data cluster at offset {:#x} lies past the end of the file",
                    p_.file.name(), align_down(host, cluster_size())));
  }
  const auto kind = p_.regions.find(host, length);
  if (!kind) co_return;
  Error error(
      ErrorKind::corrupt_image,
      fmt::format("'{}': data cluster offset {:#x} overlaps with {}; the image is marked as "
                  "corrupt",
                  p_.file.name(), host, to_string(*kind)));
  if (p_.header.version >= 3 && !p_.epochs.failure()) {
    Result<void> marked = co_await p_.epochs.mark_corrupt().result();
    if (!marked) error = std::move(error).with_context("the image could not be marked as corrupt");
  }
  p_.epochs.fail_for_good(error);
  co_await fail(std::move(error));
}

Task<void> Writer::write(std::uint64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    co_await p_.epochs.check_usable();
    std::size_t done = co_await write_in_place(offset, data);
    if (done == 0) {
      if (p_.epochs.over_limit()) co_await p_.epochs.commit();
      done = co_await write_new(offset, data);
    }
    offset += done;
    data = data.subspan(done);
  }
}

// As far as the first cluster that can't be, or that lies elsewhere; 0 if that is the first one.
Task<std::size_t> Writer::write_in_place(std::uint64_t offset, std::span<const std::byte> data) {
  RangeLock::Guard guard(locks_, offset, data.size(), /*exclusive=*/false);
  co_await guard.acquired();
  if (!L1Entry(p_.map.l1()[offset >> p_.map.table_bits()]).copied()) co_return 0;
  EntryRef ref = co_await entry_to_look_at(offset);
  if (!ref.slice) co_return 0;
  const std::size_t words = ref.extended ? 2 : 1;
  const std::size_t slice_words = ref.slice->bytes().size() / sizeof(std::uint64_t);
  std::uint64_t host = 0;
  std::uint64_t length = 0;
  for (; ref.word < slice_words && length < data.size(); ref.word += words) {
    const std::uint64_t at = offset + length;
    const std::uint64_t part = std::min(cluster_size() - at % cluster_size(), data.size() - length);
    const L2Entry entry = ref.get();
    co_await p_.map.check(entry, at);
    if (target_of(entry, at, part) != Target::in_place) break;
    const std::uint64_t place = entry.offset() + at % cluster_size();
    if (length == 0) host = place;
    if (place != host + length) break;
    length += part;
  }
  if (length == 0) co_return 0;
  ref.slice.reset();
  co_await check_place(host, length);
  co_await p_.data.write(host, data.first(length));
  co_return length;
}

// Where a run that begins with `offset` ends at the latest: one slice of an L2 table knows it all.
std::uint64_t Writer::run_end(std::uint64_t offset, std::uint64_t length) const noexcept {
  const std::uint64_t slice = std::uint64_t{1} << (p_.header.cluster_bits + p_.map.slice_bits());
  return std::min({align_up(offset + length, cluster_size()), align_down(offset, slice) + slice,
                   align_down(offset, cluster_size()) + kRunMax * cluster_size()});
}

// Plans, fills and publishes one run of clusters from `offset` on; 0 if meanwhile they can be
// written in place.
Task<std::size_t> Writer::write_new(std::uint64_t offset, std::span<const std::byte> data) {
  const std::uint64_t begin = align_down(offset, cluster_size());
  const std::uint64_t end = run_end(offset, data.size());
  RangeLock::Guard guard(locks_, begin, end - begin, /*exclusive=*/true);
  co_await guard.acquired();
  co_await p_.epochs.check_usable();
  const std::size_t most = std::min<std::uint64_t>(data.size(), end - offset);
  const Run run = co_await plan(offset, most);
  if (run.count == 0) co_return 0;
  const std::size_t length =
      std::min<std::uint64_t>(most, run.begin + run.count * cluster_size() - offset);
  Result<void> done = co_await fill(run, offset, length, data.data()).result();
  if (done) done = co_await publish(run).result();
  if (!done) {
    co_await release(run);
    co_await std::move(done);
  }
  co_return length;
}

// Nothing refers to the run's clusters, nor will. A failure leaves them counted, no more.
Task<void> Writer::release(const Run& run) {
  if (run.reuse || &p_.data != &p_.file) co_return;
  (void)co_await p_.allocator.release_unpublished(run.host).result();
}

Task<WritePlace> Writer::prepare(std::uint64_t offset, std::uint64_t length) {
  if (p_.epochs.over_limit()) co_await p_.epochs.commit();
  const std::uint64_t begin = align_down(offset, cluster_size());
  const std::uint64_t end = run_end(offset, length);
  auto prepared = std::make_unique<Prepared>(locks_, begin, end - begin);
  co_await prepared->guard.acquired();
  co_await p_.epochs.check_usable();
  length = std::min(length, end - offset);
  prepared->run = co_await plan(offset, length);
  const Run& run = prepared->run;
  WritePlace place{.file = &p_.data, .guest_offset = offset};
  if (run.count == 0) {
    const Mapping there = co_await p_.map.find(offset, length);
    place.file_offset = there.file_offset;
    place.length = there.length;
    co_await check_place(place.file_offset, place.length);
    co_return place;
  }
  place.length = std::min(length, run.begin + run.count * cluster_size() - offset);
  place.file_offset = run.host.offset + (offset - run.begin);
  Result<void> filled = co_await fill(run, offset, place.length, nullptr).result();
  if (!filled) {
    co_await release(run);
    co_return fail(std::move(filled.error()));
  }
  prepared_.emplace(offset, std::move(prepared));
  co_return place;
}

Task<void> Writer::commit(std::uint64_t offset) {
  const auto found = prepared_.find(offset);
  if (found == prepared_.end()) co_return;  // it was written in place
  const std::unique_ptr<Prepared> prepared = std::move(found->second);
  prepared_.erase(found);
  Result<void> done = co_await publish(prepared->run).result();
  if (done) co_return;
  co_await release(prepared->run);
  co_await std::move(done);
}

Task<void> Writer::abandon(std::uint64_t offset) {
  const auto found = prepared_.find(offset);
  if (found == prepared_.end()) co_return;
  const std::unique_ptr<Prepared> prepared = std::move(found->second);
  prepared_.erase(found);
  co_await release(prepared->run);
}

Task<Writer::Run> Writer::plan(std::uint64_t offset, std::uint64_t length) {
  Run run{.begin = align_down(offset, cluster_size())};
  EntryRef ref = co_await entry_to_look_at(run.begin);
  const std::size_t words = ref.extended ? 2 : 1;
  const bool shared_table = !L1Entry(p_.map.l1()[offset >> p_.map.table_bits()]).copied();
  const std::uint64_t end = offset + length;
  for (std::uint64_t at = offset; at < end && run.count < kRunMax; ref.word += words) {
    const std::uint64_t part = std::min(cluster_size() - at % cluster_size(), end - at);
    const L2Entry entry = ref.slice ? ref.get() : L2Entry();
    co_await p_.map.check(entry, at);
    Target target = target_of(entry, at, part);
    // No table but the active one may be changed, nor what it points at.
    if (target != Target::fresh && shared_table) target = Target::fresh;
    if (target == Target::in_place) break;
    if (run.count == 0) {
      run.reuse = target == Target::reuse;
      if (run.reuse) run.host.offset = entry.offset();
    } else if (run.reuse != (target == Target::reuse) ||
               (run.reuse && entry.offset() != run.host.offset + run.count * cluster_size())) {
      break;
    }
    run.old[run.count++] = entry;
    at += part;
  }
  if (run.count == 0) co_return run;
  ref.slice.reset();
  plan_fill(run, offset, std::min(end, run.begin + run.count * cluster_size()) - offset);
  if (run.reuse) {
    co_await check_place(run.host.offset, run.count * cluster_size());
  } else if (&p_.data != &p_.file) {
    run.host = {.offset = run.begin, .count = run.count};  // the guest's offset is the place
  } else {
    // The table comes before the data, as QEMU has it.
    (void)co_await p_.tables.entry_for_write(run.begin);
    run.host = co_await p_.allocator.allocate(run.count);
  }
  co_return run;
}

// How far around the request old contents must come along.
void Writer::plan_fill(Run& run, std::uint64_t offset, std::uint64_t length) const {
  run.fill_begin = align_down(offset, granule());
  run.fill_end = align_up(offset + length, granule());
  if (!p_.header.extended_l2() || run.reuse) return;
  // What moves to another place moves as a whole.
  const L2Entry first = run.old[0];
  const L2Entry last = run.old[run.count - 1];
  const std::uint64_t last_begin = run.begin + (run.count - 1) * cluster_size();
  if (first.compressed()) run.fill_begin = run.begin;
  if (last.compressed()) run.fill_end = last_begin + cluster_size();
  if (!first.compressed() && first.allocated_bits() != 0) {
    const auto lowest = static_cast<unsigned>(std::countr_zero(first.allocated_bits()));
    run.fill_begin = std::min(run.fill_begin, run.begin + lowest * granule());
  }
  if (!last.compressed() && last.allocated_bits() != 0) {
    const auto highest = static_cast<unsigned>(std::bit_width(last.allocated_bits()));
    run.fill_end = std::max(run.fill_end, last_begin + highest * granule());
  }
}

Task<bool> Writer::reads_as_zero(std::uint64_t begin, std::uint64_t end) {
  end = std::min(end, p_.image.virtual_size());
  while (begin < end) {
    for (const Mapping& run : co_await p_.image.map_chain(begin, end - begin, 16)) {
      const bool zero = run.kind == MappingKind::zero || run.kind == MappingKind::unallocated;
      if (!zero) co_return false;
      begin = run.offset + run.length;
    }
  }
  co_return true;
}

// The same for old contents of a cluster that the run is about; most often its entry says it.
Task<bool> Writer::was_zero(L2Entry entry, std::uint64_t begin, std::uint64_t end) {
  if (begin == end) co_return true;
  const bool empty = !entry.compressed() && !p_.map.placed(entry) && entry.bitmap() == 0;
  if (empty && p_.image.backing() == nullptr) co_return true;
  co_return co_await reads_as_zero(begin, end);
}

// Old contents of [begin, end); what lies behind the image's end is zeroes.
Task<void> Writer::read_old(std::uint64_t begin, std::uint64_t end, std::byte* into, bool zero) {
  const std::uint64_t known = zero ? begin : std::clamp(p_.image.virtual_size(), begin, end);
  std::memset(into + (known - begin), 0, end - known);
  if (known > begin) co_await p_.image.Image::read(begin, {into, known - begin});
}

// Writes old contents around the request and, where it is given, the request, in one go.
Task<void> Writer::fill(const Run& run, std::uint64_t offset, std::uint64_t length,
                        const std::byte* data) {
  const std::uint64_t end = offset + length;
  const std::uint64_t place = run.host.offset + (offset - run.begin);
  const bool zero_head = co_await was_zero(run.old[0], run.fill_begin, offset);
  const bool zero_tail = co_await was_zero(run.old[run.count - 1], end, run.fill_end);
  // Zeroes upon zeroes need no writing.
  const std::size_t head = zero_head && run.host.reads_as_zero ? 0 : offset - run.fill_begin;
  const std::size_t tail = zero_tail && run.host.reads_as_zero ? 0 : run.fill_end - end;
  if (head + tail == 0) {
    if (data != nullptr) co_await p_.data.write(place, {data, length});
    co_return;
  }
  const Buffer around = co_await Ring::current().buffers().acquire(head + tail);
  auto read_both = [&](TaskGroup& group) -> Task<void> {
    if (head > 0) co_await group.spawn(read_old(offset - head, offset, around.data(), zero_head));
    if (tail > 0) {
      co_await group.spawn(read_old(end, end + tail, around.data() + head, zero_tail));
    }
  };
  co_await with_group(2, read_both);
  if (data == nullptr) {
    if (head > 0) co_await p_.data.write(place - head, around.first(head));
    if (tail > 0) co_await p_.data.write(place + length, around.bytes().subspan(head));
    co_return;
  }
  std::array<iovec, 3> pieces{};
  std::size_t count = 0;
  if (head > 0) pieces[count++] = {around.data(), head};
  pieces[count++] = {const_cast<std::byte*>(data), length};
  if (tail > 0) pieces[count++] = {around.data() + head, tail};
  co_await p_.data.writev(place - head, std::span(pieces).first(count));
}

L2Entry Writer::new_entry(const Run& run, std::size_t index) const noexcept {
  const std::uint64_t host = run.host.offset + index * cluster_size();
  if (!p_.header.extended_l2()) return {host | kCopiedFlag, 0};
  const std::uint64_t begin = run.begin + index * cluster_size();
  const std::uint64_t from = std::max(begin, run.fill_begin);
  const std::uint64_t to = std::min(begin + cluster_size(), run.fill_end);
  const std::uint32_t filled = subclusters(from, to);
  const L2Entry old = run.old[index].compressed() ? L2Entry() : run.old[index];
  const std::uint32_t allocated = (run.reuse ? old.allocated_bits() : 0) | filled;
  return {host | kCopiedFlag, L2Entry::bits(allocated, old.zero_bits() & ~filled)};
}

Task<void> Writer::publish(const Run& run) {
  EntryRef ref = co_await p_.tables.entry_for_write(run.begin);
  for (std::size_t i = 0; i < run.count; ++i) {
    p_.tables.set(ref, i, new_entry(run, i));
    if (!run.reuse) drop_contents(run.old[i], /*discard=*/false);
  }
}

// What the entry referred to is referred to once less.
void Writer::drop_contents(L2Entry entry, bool discard) {
  if (&p_.data != &p_.file) return;
  if (entry.compressed()) {
    const CompressedPlace place = compressed_place(entry, p_.header.cluster_bits);
    const std::uint64_t end = place.offset + place.length;
    for (std::uint64_t at = align_down(place.offset, cluster_size()); at < end;
         at += cluster_size()) {
      p_.allocator.drop(at, discard);
    }
  } else if (p_.map.placed(entry)) {
    p_.allocator.drop(entry.offset(), discard);
  }
}

void Writer::on_free(std::uint64_t offset) noexcept {
  if (align_down(compressed_at_, cluster_size()) == offset) compressed_at_ = 0;
}

}  // namespace platter::qcow2
