#include "formats/qcow2/bitmap_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include <fmt/format.h>

#include "formats/qcow2/table_batch.h"
#include "io/ring.h"

namespace platter::qcow2 {
namespace {

Result<void> check_memory(const BitmapEntry& entry, std::uint64_t wanted, std::uint64_t most) {
  if (wanted <= most) return {};
  return fail(ErrorKind::out_of_memory,
              fmt::format("Bitmap '{}' needs {} bytes of memory, more than the {} that are allowed",
                          entry.name, wanted, most));
}

}  // namespace

Task<BitmapTable> read_bitmap_table(const Header& header, File& file, const BitmapEntry& entry,
                                    std::uint64_t memory_max) {
  const std::uint64_t length = entry.table_size * sizeof(std::uint64_t);
  co_await check_memory(entry, length, memory_max);
  const std::uint64_t file_size = co_await file.size();
  if (!in_bounds(entry.table_offset, length, file_size)) {
    co_return fail(ErrorKind::corrupt_image,
                   fmt::format("Could not read bitmap_table table from image for bitmap '{}': it "
                               "ends past the end of the file",
                               entry.name));
  }
  std::vector<std::byte> bytes(length);
  co_await read_exactly(file, entry.table_offset, bytes);
  BitmapTable table;
  table.reserve(entry.table_size);
  for (std::uint32_t i = 0; i < entry.table_size; ++i) {
    table.emplace_back(table_word(bytes, i));
    // The last cluster of a file may be a part of one.
    if (table.back().valid(header.cluster_size()) && table.back().offset() < file_size) continue;
    co_return fail(ErrorKind::corrupt_image,
                   fmt::format("Could not read bitmap_table table from image for bitmap '{}': "
                               "entry {} is {:#x}",
                               entry.name, i, table.back().raw()));
  }
  co_return table;
}

Task<DirtyBits> read_bitmap_bits(const Header& header, File& file, const BitmapEntry& entry,
                                 const BitmapTable& table, std::uint64_t memory_max) {
  const auto granularity_bits = static_cast<unsigned>(std::countr_zero(entry.granularity));
  co_await check_memory(entry, DirtyBits::byte_count(header.size, granularity_bits), memory_max);
  DirtyBits bits = co_await DirtyBits::make(header.size, granularity_bits);
  const std::uint64_t cluster_size = header.cluster_size();
  const Buffer buffer = co_await Ring::current().buffers().acquire(cluster_size);
  for (std::size_t i = 0; i < table.size(); ++i) {
    if (table[i].all_ones()) bits.load_ones(i * cluster_size, cluster_size);
    if (table[i].offset() == 0) continue;
    // Only what holds bits need be in the file.
    const std::uint64_t left = bits.byte_count() - std::min(bits.byte_count(), i * cluster_size);
    const std::span<std::byte> part = buffer.first(std::min(left, cluster_size));
    const std::size_t count = co_await file.read(table[i].offset(), part);
    if (count < part.size()) {
      co_return fail(ErrorKind::corrupt_image,
                     fmt::format("Could not read bitmap '{}' from image: its bits at offset {:#x} "
                                 "end past the end of the file",
                                 entry.name, table[i].offset()));
    }
    bits.load(i * cluster_size, part);
  }
  bits.unchanged();
  co_return bits;
}

Result<void> check_bitmap_usable(const std::string& name, const BitmapEntry* entry) {
  if (entry == nullptr) {
    return fail(ErrorKind::not_found, fmt::format("Dirty bitmap '{}' not found", name));
  }
  if (!entry->in_use()) return {};
  return fail(ErrorKind::corrupt_image,
              fmt::format("Bitmap '{}' is inconsistent and cannot be used\n"
                          "Try block-dirty-bitmap-remove to delete this bitmap from disk",
                          name));
}

Task<DirtyBits> read_bitmap_named(const Header& header, File& file, std::string name,
                                  std::uint64_t memory_max) {
  const std::vector<BitmapEntry> entries = co_await read_bitmap_directory(header, file);
  const auto found = std::ranges::find(entries, name, &BitmapEntry::name);
  const BitmapEntry* const entry = found == entries.end() ? nullptr : &*found;
  co_await check_bitmap_usable(name, entry);
  const BitmapTable table = co_await read_bitmap_table(header, file, *entry, memory_max);
  co_return co_await read_bitmap_bits(header, file, *entry, table, memory_max);
}

std::vector<std::uint64_t> data_clusters(const BitmapTable& table) {
  std::vector<std::uint64_t> offsets;
  for (const BitmapTableEntry entry : table) {
    if (entry.offset() != 0) offsets.push_back(entry.offset());
  }
  return offsets;
}

}  // namespace platter::qcow2
