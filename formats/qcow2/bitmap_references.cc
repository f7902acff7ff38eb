#include "formats/qcow2/bitmap_references.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "formats/qcow2/bitmap_directory.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kReservedMask = 0xff000000000001fe;
constexpr std::uint64_t kOffsetMask = 0x00fffffffffffe00;
constexpr std::uint64_t kTableSizeMax = 0x8000000;  // entries; QEMU's
constexpr std::uint64_t kWord = sizeof(std::uint64_t);
constexpr std::uint64_t kWordsAtOnce = 128 * kKiB;

// Section "Bitmap table".
Task<void> count_entries(CheckRun& run, ReferenceCounter& counter, SharedRange range) {
  for (std::uint64_t at = range.begin; at < range.end; at += kWordsAtOnce * kWord) {
    if (run.cancel != nullptr) co_await run.cancel->check();
    const std::uint64_t count = std::min((range.end - at) / kWord, kWordsAtOnce);
    for (const std::uint64_t entry : co_await read_words(run, at, count)) {
      const std::uint64_t offset = entry & kOffsetMask;
      if ((entry & kReservedMask) != 0 || (offset != 0 && (entry & 1) != 0) ||
          !is_aligned(offset, run.header.cluster_size())) {
        co_await fail(ErrorKind::corrupt_image,
                      fmt::format("a bitmap table's entry {:#x} is not possible", entry));
      }
      if (offset != 0) counter.count_range(offset, run.header.cluster_size(), range.weight);
    }
  }
}

}  // namespace

Task<void> count_bitmap_references(CheckRun& run, ReferenceCounter& counter) {
  const std::vector<BitmapEntry> bitmaps = co_await read_bitmap_directory(run.header, run.file);
  if (!run.header.bitmaps || !run.header.autoclear(kBitmapsBit) || run.header.bitmaps->count == 0)
    co_return;
  counter.count_range(run.header.bitmaps->directory_offset, run.header.bitmaps->directory_size);
  std::vector<SharedRange> tables;
  std::vector<SharedRange> clusters;
  for (const BitmapEntry& bitmap : bitmaps) {
    const std::uint64_t begin = bitmap.table_offset;
    const std::uint64_t size = bitmap.table_size * kWord;
    if (size == 0 || begin == 0 || !is_aligned(begin, run.header.cluster_size()) ||
        bitmap.table_size > kTableSizeMax) {
      co_await fail(ErrorKind::corrupt_image,
                    fmt::format("Bitmap '{}' doesn't satisfy the constraints", bitmap.name));
    }
    if (counter.ends_in_file(begin, size)) {
      tables.push_back({.begin = begin, .end = std::min(begin + size, run.file_size)});
    }
    counter.add_range(begin, size, clusters);
  }
  counter.count_ranges(clusters);
  for (const SharedRange& range : disjoint(tables)) co_await count_entries(run, counter, range);
}

}  // namespace platter::qcow2
