#include "formats/qcow2/snapshot_table.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint32_t kExtraSizeMax = 1024;

// Section "Snapshots", "Extra data".
struct DiskSnapshotExtra {
  be64 vm_state_size;
  be64 disk_size;
  be64 icount;
};

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

}  // namespace

Task<std::vector<Snapshot>> read_snapshots(const Header& header, File& file) {
  std::vector<Snapshot> snapshots;
  EntryReader reader(file, header.snapshots_offset);
  for (std::uint32_t i = 0; i < header.snapshot_count; ++i) {
    DiskSnapshot disk{};
    const auto fixed = co_await reader.take(sizeof disk);
    std::memcpy(&disk, fixed.data(), sizeof disk);
    const std::uint32_t extra_size = disk.extra_data_size;
    if (extra_size > kExtraSizeMax) {
      co_return fail(ErrorKind::corrupt_image,
                     fmt::format("'{}': snapshot {} has {} bytes of extra data, more than {}",
                                 file.name(), i, extra_size, kExtraSizeMax));
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
    std::memcpy(&extra, extra_bytes.data(), std::min<std::size_t>(extra_size, sizeof extra));
    if (extra_size >= 8) snapshot.vm_state_size = extra.vm_state_size;
    if (extra_size >= 16) snapshot.disk_size = extra.disk_size;
    if (extra_size >= 24) snapshot.icount = extra.icount;
    snapshot.id = text_of(co_await reader.take(disk.id_size));
    snapshot.name = text_of(co_await reader.take(disk.name_size));
    co_await reader.skip_padding();
    co_await check(header, snapshot, file.name());
    snapshots.push_back(std::move(snapshot));
  }
  co_return snapshots;
}

}  // namespace platter::qcow2
