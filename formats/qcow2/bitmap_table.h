// A persistent dirty bitmap's table and data, read and written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/qcow2/bitmap_bits.h"
#include "formats/qcow2/bitmap_directory.h"
#include "formats/qcow2/header.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Section "Bitmap table": where one cluster of bits is.
class BitmapTableEntry {
 public:
  static constexpr BitmapTableEntry zeroes() noexcept { return BitmapTableEntry(0); }
  static constexpr BitmapTableEntry ones() noexcept { return BitmapTableEntry(1); }
  /// REQUIRES: a multiple of the cluster size, not 0.
  static constexpr BitmapTableEntry at(std::uint64_t offset) noexcept {
    return BitmapTableEntry(offset);
  }
  constexpr explicit BitmapTableEntry(std::uint64_t raw) noexcept : raw_(raw) {}

  constexpr std::uint64_t raw() const noexcept { return raw_; }
  /// 0: all bits are the same.
  constexpr std::uint64_t offset() const noexcept { return raw_ & 0x00fffffffffffe00; }
  constexpr bool all_ones() const noexcept { return raw_ == 1; }
  /// No reserved bit is set, and the offset is a multiple of the cluster size.
  constexpr bool valid(std::uint64_t cluster_size) const noexcept {
    return (raw_ & 0xff000000000001fe) == 0 && is_aligned(offset(), cluster_size) &&
           (offset() == 0 || (raw_ & 1) == 0);
  }

 private:
  std::uint64_t raw_;
};

using BitmapTable = std::vector<BitmapTableEntry>;

/// Reads and checks a table, of at most `memory_max` bytes.
/// Errors: corrupt_image (with the bitmap's name), out_of_memory, io.
Task<BitmapTable> read_bitmap_table(const Header& header, File& file, const BitmapEntry& entry,
                                    std::uint64_t memory_max);

/// Reads the bits of a consistent bitmap, of at most `memory_max` bytes.
/// Errors: corrupt_image, out_of_memory, io.
Task<DirtyBits> read_bitmap_bits(const Header& header, File& file, const BitmapEntry& entry,
                                 const BitmapTable& table, std::uint64_t memory_max);

/// The same by name, for whoever has nothing open but the header. Errors: not_found, too; of an
/// inconsistent bitmap corrupt_image.
Task<DirtyBits> read_bitmap_named(const Header& header, File& file, std::string name,
                                  std::uint64_t memory_max);

/// What is said of a bitmap that is not there, or inconsistent. `entry` null: there is none.
Result<void> check_bitmap_usable(const std::string& name, const BitmapEntry* entry);

/// The offsets of the clusters that hold bits.
std::vector<std::uint64_t> data_clusters(const BitmapTable& table);

}  // namespace platter::qcow2
