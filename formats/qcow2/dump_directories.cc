#include "formats/qcow2/dump_directories.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/bitmap_table.h"
#include "formats/qcow2/table_batch.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::size_t kEntriesAtOnce = 8192;

// Reads within the file; nothing where a part lies past its end.
Task<std::optional<std::vector<std::byte>>> read_part(const DumpSource& source,
                                                      std::uint64_t offset, std::uint64_t length) {
  if (source.cancel != nullptr) co_await look_for_cancel(source.cancel);
  if (!in_bounds(offset, length, source.file_size)) co_return std::nullopt;
  std::vector<std::byte> bytes(length);
  co_await read_zero_filled(source.file, offset, bytes);
  co_return bytes;
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void check_table(const DumpSource& source, std::uint64_t offset, std::uint64_t size,
                 std::string_view what, Problems& problems) {
  if (!is_aligned(offset, source.header.cluster_size())) {
    problems.push_back(fmt::format("the {} is not at a multiple of the cluster size", what));
  }
  if (!in_bounds(offset, size, source.file_size)) {
    problems.push_back(fmt::format("the {} ends past the end of the file", what));
  }
}

void check_snapshot(const DumpSource& source, SnapshotRow& row) {
  const std::uint64_t size = std::uint64_t{row.disk.l1_size} * kWord;
  check_table(source, row.disk.l1_table_offset, size, "L1 table", row.problems);
  if (size > kL1SizeMax) row.problems.emplace_back("the L1 table is too large");
  if (row.disk.extra_data_size > kSnapshotExtraMax) {
    row.problems.emplace_back("there is too much extra data");
  }
  if (source.header.version >= 3 && row.disk.extra_data_size < 2 * kWord) {
    row.problems.emplace_back("the extra data that version 3 asks for is missing");
  }
}

void check_bitmap(const DumpSource& source, BitmapRow& row) {
  const DiskBitmapEntry& disk = row.disk;
  check_table(source, disk.bitmap_table_offset, std::uint64_t{disk.bitmap_table_size} * kWord,
              "bitmap table", row.problems);
  if (disk.type != 1) row.problems.push_back(fmt::format("type {} is not known", disk.type));
  if ((disk.flags & ~(kBitmapInUse | kBitmapAuto)) != 0) {
    row.problems.emplace_back("unknown flags are set");
  }
  if (disk.granularity_bits < DirtyBits::kGranularityBitsMin ||
      disk.granularity_bits > DirtyBits::kGranularityBitsMax) {
    row.problems.emplace_back("the granularity is not possible");
  }
  if (disk.extra_data_size != 0) row.problems.emplace_back("there is extra data");
  if (row.name.empty() || row.name.size() > kBitmapNameMax) {
    row.problems.emplace_back("the name's length is not possible");
  }
}

}  // namespace

Task<Problems> dump_snapshots(DumpSource source, std::function<bool(const SnapshotRow&)> on_row) {
  Problems problems;
  const std::uint32_t count = source.header.snapshot_count;
  const std::uint64_t begin = source.header.snapshots_offset;
  if (count > 0 && !is_aligned(begin, source.header.cluster_size())) {
    problems.emplace_back("the table is not at a multiple of the cluster size");
  }
  if (count > kSnapshotsMax) {
    problems.push_back(fmt::format("{} snapshots are more than there can be", count));
  }
  std::uint64_t at = begin;
  for (std::uint32_t i = 0; i < std::min(count, kSnapshotsMax); ++i) {
    SnapshotRow row{.index = i, .place = at};
    const auto fixed = co_await read_part(source, at, sizeof row.disk);
    if (!fixed || at - begin > kSnapshotTableSizeMax) {
      problems.push_back(fmt::format("entry {} is not there", i));
      co_return problems;
    }
    std::memcpy(&row.disk, fixed->data(), sizeof row.disk);
    at += sizeof row.disk;
    const std::uint32_t shown =
        std::min(std::uint32_t{row.disk.extra_data_size}, kSnapshotExtraMax);
    if (auto extra = co_await read_part(source, at, shown)) row.extra = *std::move(extra);
    at += row.disk.extra_data_size;
    const std::size_t names = std::size_t{row.disk.id_size} + row.disk.name_size;
    if (const auto strings = co_await read_part(source, at, names)) {
      row.id = text_of(std::span(*strings).first(row.disk.id_size));
      row.name = text_of(std::span(*strings).subspan(row.disk.id_size));
    } else {
      row.problems.emplace_back("the entry ends past the end of the file");
    }
    check_snapshot(source, row);
    if (!on_row(row)) co_return problems;
    at = align_up(at + names, 8);
  }
  co_return problems;
}

Task<Problems> dump_bitmaps(DumpSource source, std::function<bool(const BitmapRow&)> on_row) {
  Problems problems;
  if (!source.header.bitmaps) co_return problems;
  const BitmapsExtension& extension = *source.header.bitmaps;
  if (!source.header.autoclear(kBitmapsBit)) {
    problems.emplace_back("the autoclear bit says that the bitmaps are not to be trusted");
  }
  check_table(source, extension.directory_offset, extension.directory_size, "directory", problems);
  if (extension.count > kBitmapsMax || extension.directory_size > kBitmapDirectorySizeMax) {
    problems.emplace_back("the directory is larger than it can be");
  }
  std::uint64_t at = extension.directory_offset;
  const std::uint64_t end = at + std::min({extension.directory_size, kBitmapDirectorySizeMax,
                                           source.file_size - std::min(source.file_size, at)});
  for (std::uint32_t i = 0; i < std::min(extension.count, kBitmapsMax); ++i) {
    BitmapRow row{.index = i, .place = at};
    const bool there = at < end && end - at >= sizeof row.disk;
    const auto fixed = there ? co_await read_part(source, at, sizeof row.disk) : std::nullopt;
    if (!fixed) {
      problems.push_back(fmt::format("entry {} is not there", i));
      break;
    }
    std::memcpy(&row.disk, fixed->data(), sizeof row.disk);
    at += sizeof row.disk + std::uint64_t{row.disk.extra_data_size};
    if (const auto name = co_await read_part(source, at, row.disk.name_size)) {
      row.name = text_of(*name);
    } else {
      row.problems.emplace_back("the entry ends past the end of the file");
    }
    check_bitmap(source, row);
    if (!on_row(row)) break;
    at = align_up(at + row.disk.name_size, 8);
  }
  co_return problems;
}

Task<void> dump_bitmap_table(DumpSource source, std::uint64_t table, std::uint64_t entries,
                             std::function<bool(const BitmapTableRow&)> on_row) {
  const std::uint64_t left = source.file_size - std::min(source.file_size, table);
  entries = std::min({entries, kBitmapSizeMax >> source.header.cluster_bits, left / kWord});
  BitmapTableRow run{.entries = 0};
  std::vector<std::byte> bytes(kEntriesAtOnce * kWord);
  for (std::uint64_t index = 0; index < entries; ++index) {
    const std::size_t place = index % kEntriesAtOnce;
    if (place == 0) {
      if (source.cancel != nullptr) co_await look_for_cancel(source.cancel);
      co_await read_zero_filled(source.file, table + index * kWord, bytes);
    }
    const std::uint64_t raw = table_word(bytes, place);
    const BitmapTableEntry entry(raw);
    if (run.entries > 0 && run.raw == raw && entry.offset() == 0) {
      ++run.entries;
      continue;
    }
    if (run.entries > 0 && !on_row(run)) co_return;
    run = {.index = index, .raw = raw};
    if (!entry.valid(source.header.cluster_size())) {
      run.problems.emplace_back("the entry is not possible");
    } else if (entry.offset() >= source.file_size) {
      run.problems.emplace_back("the bits lie past the end of the file");
    }
  }
  if (run.entries > 0) on_row(run);
}

}  // namespace platter::qcow2
