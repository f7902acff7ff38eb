#include "formats/qcow2/measure.h"

#include <bit>
#include <vector>

#include "formats/qcow2/bitmap_bits.h"
#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/format.h"
#include "io/bytes.h"

namespace platter::qcow2 {
namespace {

constexpr std::uint64_t kEntry = sizeof(std::uint64_t);

std::uint64_t divide_up(std::uint64_t value, std::uint64_t by) { return (value + by - 1) / by; }

std::uint64_t l2_entry_size(const CreateOptions& options) {
  return options.extended_l2 ? 2 * kEntry : kEntry;
}

// The table and the blocks that count `clusters` of others, and themselves.
std::uint64_t refcount_bytes(const CreateOptions& options, std::uint64_t clusters) {
  const std::uint64_t counts = options.cluster_size * 8 / options.refcount_bits;  // of a block
  const std::uint64_t blocks_of_cluster = options.cluster_size / kEntry;
  std::uint64_t blocks = 0;
  std::uint64_t table = 0;
  for (std::uint64_t before = ~std::uint64_t{0}; before != blocks + table;) {
    before = blocks + table;
    blocks = divide_up(clusters + before, counts);
    table = divide_up(blocks, blocks_of_cluster);
  }
  return (blocks + table) * options.cluster_size;
}

// Header, L2 tables, L1 table and refcounts of a disk whose clusters are all there.
std::uint64_t metadata_bytes(const CreateOptions& options, std::uint64_t disk) {
  const std::uint64_t cluster = options.cluster_size;
  const std::uint64_t l2 = align_up(disk / cluster * l2_entry_size(options), cluster);
  const std::uint64_t l1 = align_up(l2 / cluster * kEntry, cluster);
  const std::uint64_t tables = cluster + l2 + l1;
  return tables + refcount_bytes(options, (tables + disk) / cluster);
}

}  // namespace

Result<void> check_disk_size(const CreateOptions& options) {
  const std::uint64_t disk = align_up(options.size, options.cluster_size);
  const std::uint64_t tables =
      divide_up(disk / options.cluster_size, options.cluster_size / l2_entry_size(options));
  if (options.size <= kMaxFileSize - options.cluster_size && tables <= kL1SizeMax / kEntry) {
    return {};
  }
  return fail(ErrorKind::too_large,
              "The image size is too large (try using a larger cluster size)");
}

Result<FileSizes> measure(const CreateOptions& options, std::uint64_t data_bytes) {
  CreateOptions clusters{.cluster_size = options.cluster_size, .extended_l2 = options.extended_l2};
  if (Result<void> done = check(clusters); !done) return fail(std::move(done.error()));
  CreateOptions counts{.refcount_bits = options.refcount_bits};
  if (Result<void> done = check(counts); !done) return fail(std::move(done.error()));
  if (options.version < 3 && options.refcount_bits != 16) {
    return fail(ErrorKind::invalid_argument,
                "Different refcount widths than 16 bits require compatibility level 1.1 or above "
                "(use compat=1.1 or greater)");
  }
  const std::uint64_t disk = align_up(options.size, options.cluster_size);
  const bool all = options.preallocation == Preallocation::full ||
                   options.preallocation == Preallocation::falloc;
  const std::uint64_t metadata = metadata_bytes(options, disk);
  return FileSizes{.required = metadata + (all ? disk : data_bytes),
                   .fully_allocated = metadata + disk};
}

std::uint64_t measure_bitmaps(std::span<const BitmapInfo> bitmaps, std::uint64_t size,
                              std::uint64_t cluster_size) {
  std::uint64_t sum = 0;
  std::vector<BitmapEntry> entries;
  for (const BitmapInfo& bitmap : bitmaps) {
    const auto granularity_bits = static_cast<unsigned>(std::countr_zero(bitmap.granularity));
    const std::uint64_t clusters =
        divide_up(DirtyBits::byte_count(size, granularity_bits), cluster_size);
    sum += clusters * cluster_size + align_up(clusters * kEntry, cluster_size);
    entries.push_back({.name = bitmap.name});
  }
  return sum + align_up(directory_size(entries), cluster_size);
}

}  // namespace platter::qcow2
