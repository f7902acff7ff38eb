#include "formats/qcow2/snapshot_table.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

// Reads a row of variable-sized entries through a window, so that a small table costs one read.
class EntryReader {
 public:
  EntryReader(File& file, std::uint64_t offset) : file_(file), offset_(offset), begin_(offset) {}

  // The next `length` bytes. Valid until the next call.
  Task<std::span<const std::byte>> take(std::size_t length) {
    if (position_ + length > filled_) co_await refill(length);
    const std::span<const std::byte> bytes(window_.data() + position_, length);
    position_ += length;
    offset_ += length;
    if (offset_ - begin_ > kSnapshotTableSizeMax) {
      co_return fail(ErrorKind::too_large,
                     "'" + file_.name() + "': the snapshot table is larger " + "than 64 MiB");
    }
    co_return bytes;
  }
  std::uint64_t position() const noexcept { return offset_ - begin_; }  // in the table
  Task<void> skip_padding() {
    const std::uint64_t used = (offset_ - begin_) % 8;
    if (used != 0) co_await take(8 - used);
  }

 private:
  Task<void> refill(std::size_t length) {
    constexpr std::size_t kWindow = 16 * kKiB;
    window_.resize(std::max(kWindow, length + kWindow));
    filled_ = co_await file_.read(offset_, window_);
    position_ = 0;
    if (filled_ < length) {
      co_await fail(ErrorKind::corrupt_image,
                    "'" + file_.name() + "': the snapshot table ends past the end of the file");
    }
  }

  File& file_;
  std::uint64_t offset_;
  std::uint64_t begin_;
  std::vector<std::byte> window_;
  std::size_t position_ = 0;
  std::size_t filled_ = 0;
};

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<void> check(const Header& header, const Snapshot& snapshot, const std::string& file) {
  const bool placed = is_aligned(snapshot.l1_table_offset, header.cluster_size()) &&
                      snapshot.l1_table_offset <= kMaxFileSize - kL1SizeMax;
  if (snapshot.l1_size <= kL1SizeMax / sizeof(std::uint64_t) && placed) return {};
  return fail(ErrorKind::corrupt_image,
              fmt::format("'{}': the L1 table of snapshot '{}' ({} entries at offset {:#x}) is not "
                          "possible",
                          file, snapshot.name, snapshot.l1_size, snapshot.l1_table_offset));
}

template <class Struct>
void append(std::vector<std::byte>& bytes, const Struct& part) {
  const auto raw = std::as_bytes(std::span(&part, 1));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

// The 32-bit field is for those who don't know the extra data.
std::uint32_t short_state_size(const Snapshot& snapshot) {
  const bool fits = snapshot.vm_state_size <= std::numeric_limits<std::uint32_t>::max();
  return fits ? static_cast<std::uint32_t>(snapshot.vm_state_size) : 0;
}

bool fits_an_entry(const Snapshot& snapshot) {
  constexpr std::size_t kStringMax = std::numeric_limits<std::uint16_t>::max();
  return snapshot.id.size() <= kStringMax && snapshot.name.size() <= kStringMax &&
         snapshot.unknown_extra.size() <= kSnapshotExtraMax - sizeof(DiskSnapshotExtra);
}

bool matches(const Snapshot& snapshot, const std::string* id, const std::string* name) {
  return (id == nullptr || snapshot.id == *id) && (name == nullptr || snapshot.name == *name);
}

}  // namespace

Task<SnapshotTable> read_snapshots(const Header& header, File& file) {
  SnapshotTable table;
  EntryReader reader(file, header.snapshots_offset);
  for (std::uint32_t i = 0; i < header.snapshot_count; ++i) {
    DiskSnapshot disk{};
    const auto fixed = co_await reader.take(sizeof disk);
    std::memcpy(&disk, fixed.data(), sizeof disk);
    const std::uint32_t extra_size = disk.extra_data_size;
    if (extra_size > kSnapshotExtraMax) {
      co_return fail(ErrorKind::corrupt_image,
                     fmt::format("'{}': snapshot {} has {} bytes of extra data, more than {}",
                                 file.name(), i, extra_size, kSnapshotExtraMax));
    }
    Snapshot snapshot{.l1_table_offset = disk.l1_table_offset,
                      .l1_size = disk.l1_size,
                      .date_sec = disk.date_sec,
                      .date_nsec = disk.date_nsec,
                      .vm_clock_nsec = disk.vm_clock_nsec,
                      .vm_state_size = disk.vm_state_size,
                      .disk_size = header.size};
    DiskSnapshotExtra extra{};
    const auto extra_bytes = co_await reader.take(extra_size);
    const std::size_t known = std::min<std::size_t>(extra_size, sizeof extra);
    std::memcpy(&extra, extra_bytes.data(), known);
    if (extra_size >= 8) snapshot.vm_state_size = extra.vm_state_size;
    if (extra_size >= 16) snapshot.disk_size = extra.disk_size;
    if (extra_size >= 24) snapshot.icount = extra.icount;
    const auto unknown = extra_bytes.subspan(known);
    snapshot.unknown_extra.assign(unknown.begin(), unknown.end());
    snapshot.id = text_of(co_await reader.take(disk.id_size));
    snapshot.name = text_of(co_await reader.take(disk.name_size));
    table.size = reader.position();
    if (i + 1 < header.snapshot_count) co_await reader.skip_padding();
    co_await check(header, snapshot, file.name());
    table.snapshots.push_back(std::move(snapshot));
  }
  co_return table;
}

Result<std::vector<std::byte>> encode_snapshots(std::span<const Snapshot> snapshots) {
  std::vector<std::byte> table;
  for (const Snapshot& snapshot : snapshots) {
    if (!fits_an_entry(snapshot)) {
      return fail(ErrorKind::too_large, fmt::format("the name of snapshot '{}' is too long",
                                                    snapshot.name.substr(0, 64)));
    }
    DiskSnapshot disk{};
    disk.l1_table_offset = snapshot.l1_table_offset;
    disk.l1_size = snapshot.l1_size;
    disk.id_size = static_cast<std::uint16_t>(snapshot.id.size());
    disk.name_size = static_cast<std::uint16_t>(snapshot.name.size());
    disk.date_sec = snapshot.date_sec;
    disk.date_nsec = snapshot.date_nsec;
    disk.vm_clock_nsec = snapshot.vm_clock_nsec;
    disk.vm_state_size = short_state_size(snapshot);
    disk.extra_data_size =
        static_cast<std::uint32_t>(sizeof(DiskSnapshotExtra) + snapshot.unknown_extra.size());
    const DiskSnapshotExtra extra{.vm_state_size = snapshot.vm_state_size,
                                  .disk_size = snapshot.disk_size,
                                  .icount = snapshot.icount};
    table.resize(align_up(table.size(), 8));
    append(table, disk);
    append(table, extra);
    table.insert(table.end(), snapshot.unknown_extra.begin(), snapshot.unknown_extra.end());
    for (const std::string* text : {&snapshot.id, &snapshot.name}) {
      const auto raw = std::as_bytes(std::span(*text));
      table.insert(table.end(), raw.begin(), raw.end());
    }
    if (table.size() > kSnapshotTableSizeMax) break;
  }
  if (snapshots.size() > kSnapshotsMax || table.size() > kSnapshotTableSizeMax) {
    return fail(ErrorKind::too_large, "the snapshot table can't take any more snapshots");
  }
  return table;
}

const Snapshot* find_snapshot(std::span<const Snapshot> snapshots, const SnapshotKey& key) {
  const std::string* const id = key.id ? &*key.id : nullptr;
  const std::string* const name = key.name ? &*key.name : nullptr;
  const auto find = [&](const std::string* wanted_id, const std::string* wanted_name) {
    const auto found = std::ranges::find_if(
        snapshots, [&](const Snapshot& s) { return matches(s, wanted_id, wanted_name); });
    return found == snapshots.end() ? nullptr : &*found;
  };
  if (!key.either) return find(id, name);
  const Snapshot* const by_id = find(id, nullptr);
  return by_id != nullptr ? by_id : find(nullptr, name);
}

Result<std::string> next_snapshot_id(std::span<const Snapshot> snapshots) {
  std::uint64_t largest = 0;
  for (const Snapshot& snapshot : snapshots) {
    std::uint64_t number = 0;
    const char* const end = snapshot.id.data() + snapshot.id.size();
    const auto parsed = std::from_chars(snapshot.id.data(), end, number);
    if (parsed.ec == std::errc::result_out_of_range) number = ~std::uint64_t{0};
    largest = std::max(largest, number);
  }
  if (largest == ~std::uint64_t{0}) {
    return fail(ErrorKind::too_large, "no snapshot id is left: one is at the maximum");
  }
  return std::to_string(largest + 1);
}

}  // namespace platter::qcow2
