#include "formats/qcow2/check_snapshots.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint32_t kExtraSizeMin = 16;
// QEMU counts places in a table with 31 bits.
constexpr std::uint64_t kTableSpanMax = std::numeric_limits<std::int32_t>::max();

// Small pieces of a file in rising order, by few requests. Past the end: zeroes.
class Window {
 public:
  explicit Window(File& file) : file_(file) {}

  Task<void> read(std::uint64_t offset, std::span<std::byte> into) {
    if (offset < begin_ || offset + into.size() > begin_ + bytes_.size()) {
      bytes_.resize(std::max<std::size_t>(kSize, into.size()));
      begin_ = offset;
      co_await read_zero_filled(file_, offset, bytes_);
    }
    std::ranges::copy(std::span(bytes_).subspan(offset - begin_, into.size()), into.begin());
  }

 private:
  static constexpr std::size_t kSize = 64 * kKiB;
  File& file_;
  std::uint64_t begin_ = 0;
  std::vector<std::byte> bytes_;
};

std::uint64_t tail_of(const SnapshotEntry& entry) {
  return entry.place + sizeof(DiskSnapshot) + entry.extra_data_size;
}
std::uint64_t end_of(const SnapshotEntry& entry) {
  return tail_of(entry) + entry.id_size + entry.name_size;
}

Task<SnapshotEntry> read_entry(Window& window, std::uint64_t place) {
  DiskSnapshot disk{};
  co_await window.read(place, std::as_writable_bytes(std::span(&disk, 1)));
  co_return SnapshotEntry{.place = place,
                          .l1_table_offset = disk.l1_table_offset,
                          .l1_size = disk.l1_size,
                          .extra_data_size = disk.extra_data_size,
                          .id_size = disk.id_size,
                          .name_size = disk.name_size};
}

std::unexpected<Error> too_large(std::string_view what, std::uint64_t overhanging) {
  return fail(ErrorKind::too_large,
              fmt::format("the snapshot table {}; 'check -r all' gives up {} of its entries", what,
                          overhanging));
}

}  // namespace

Task<SnapshotEntries> read_snapshot_entries(const Header& header, File& file, bool repair,
                                            CheckMessages& messages) {
  SnapshotEntries read;
  std::uint32_t count = header.snapshot_count;
  if (count > kSnapshotsMax) {
    if (!repair) co_return too_large("has too many entries", count - kSnapshotsMax);
    messages.add(fmt::format("Discarding {} overhanging snapshots", count - kSnapshotsMax));
    read.overhanging = count - kSnapshotsMax;
    count = kSnapshotsMax;
  }
  const std::uint64_t begin = header.snapshots_offset;
  if (count > 0 &&
      (!is_aligned(begin, header.cluster_size()) || begin > kMaxFileSize - 2 * kTableSpanMax)) {
    co_return fail(ErrorKind::corrupt_image,
                   fmt::format("Snapshot table offset invalid: {:#x}", begin));
  }
  Window window(file);
  std::uint64_t at = begin;
  std::uint64_t kept = 0;  // bytes of a table without what is given up
  for (std::uint32_t i = 0; i < count; ++i) {
    SnapshotEntry entry = co_await read_entry(window, align_up(at, 8));
    const std::uint32_t extra = std::min(entry.extra_data_size, kSnapshotExtraMax);
    if (entry.extra_data_size > kSnapshotExtraMax) {
      if (!repair) {
        co_return fail(ErrorKind::too_large,
                       fmt::format("Too much extra metadata in snapshot table entry {}; 'check -r "
                                   "all' removes it",
                                   i));
      }
      messages.add(
          fmt::format("Discarding too much extra metadata in snapshot table entry {} ({} > {})", i,
                      entry.extra_data_size, kSnapshotExtraMax));
      ++read.faults;
    }
    kept = align_up(kept, 8) + sizeof(DiskSnapshot) + extra + entry.id_size + entry.name_size;
    if (kept > kSnapshotTableSizeMax || end_of(entry) - begin > kTableSpanMax) {
      if (!repair) co_return too_large("is too big", count - i);
      messages.add(fmt::format("Discarding {} overhanging snapshots (snapshot table is too big)",
                               count - i));
      read.overhanging += count - i;
      break;
    }
    at = end_of(entry);
    read.entries.push_back(entry);
  }
  read.table_size = at - begin;
  for (std::size_t i = 0; header.version >= 3 && i < read.entries.size(); ++i) {
    if (read.entries[i].extra_data_size >= kExtraSizeMin) continue;
    ++read.faults;
    messages.add(
        fmt::format("{} snapshot table entry {} is incomplete", repair ? "Repairing" : "ERROR", i));
  }
  co_return read;
}

Task<std::string> describe_snapshot(File& file, const SnapshotEntry& entry) {
  std::string text(std::size_t{entry.id_size} + entry.name_size, '\0');
  co_await read_zero_filled(file, tail_of(entry), std::as_writable_bytes(std::span(text)));
  co_return text.substr(0, entry.id_size) + " (" + text.substr(entry.id_size) + ")";
}

Task<std::vector<std::byte>> make_snapshot_table(const Header& header, File& file,
                                                 std::span<const SnapshotEntry> entries) {
  std::vector<std::byte> table;
  Window window(file);
  for (const SnapshotEntry& entry : entries) {
    DiskSnapshot disk{};
    co_await window.read(entry.place, std::as_writable_bytes(std::span(&disk, 1)));
    const std::uint32_t had = std::min(entry.extra_data_size, kSnapshotExtraMax);
    std::vector<std::byte> extra(std::max<std::size_t>(had, sizeof(DiskSnapshotExtra)));
    DiskSnapshotExtra defaults{};
    defaults.vm_state_size = std::uint32_t{disk.vm_state_size};
    defaults.disk_size = header.size;
    defaults.icount = ~std::uint64_t{0};
    std::memcpy(extra.data(), &defaults, sizeof defaults);
    // Whole fields only: half of one is none.
    const std::size_t known = had < sizeof defaults ? align_down(had, 8) : had;
    co_await window.read(entry.place + sizeof disk, std::span(extra).first(known));
    disk.extra_data_size = static_cast<std::uint32_t>(extra.size());
    std::vector<std::byte> strings(std::size_t{entry.id_size} + entry.name_size);
    co_await window.read(tail_of(entry), strings);

    table.resize(align_up(table.size(), 8));
    const auto fixed = std::as_bytes(std::span(&disk, 1));
    table.insert(table.end(), fixed.begin(), fixed.end());
    table.insert(table.end(), extra.begin(), extra.end());
    table.insert(table.end(), strings.begin(), strings.end());
  }
  co_return table;
}

std::vector<SharedRange> disjoint(std::span<const SharedRange> ranges) {
  struct Edge {
    std::uint64_t at;
    bool opens;
    std::size_t range;
  };
  std::vector<Edge> edges;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].begin >= ranges[i].end) continue;
    edges.push_back({ranges[i].begin, true, i});
    edges.push_back({ranges[i].end, false, i});
  }
  std::ranges::sort(edges, {}, &Edge::at);
  std::vector<SharedRange> pieces;
  std::set<std::size_t> open;
  std::uint64_t at = 0;
  for (const Edge& edge : edges) {
    if (edge.at > at && !open.empty()) {
      pieces.push_back(
          {.begin = at, .end = edge.at, .weight = open.size(), .first = *open.begin()});
    }
    at = edge.at;
    if (edge.opens) {
      open.insert(edge.range);
    } else {
      open.erase(edge.range);
    }
  }
  std::ranges::sort(pieces, [](const SharedRange& a, const SharedRange& b) {
    return a.first != b.first ? a.first < b.first : a.begin < b.begin;
  });
  return pieces;
}

}  // namespace platter::qcow2
