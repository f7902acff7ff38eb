// From guest offsets to the clusters that hold them: L1 and L2 tables.
#pragma once

#include <cstdint>
#include <vector>

#include "formats/image.h"
#include "formats/qcow2/entry_table.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_cache.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Section "Compressed Clusters Descriptor": where the compressed bytes of one cluster are.
struct CompressedPlace {
  std::uint64_t offset = 0;  ///< host offset, at any byte
  std::uint64_t length = 0;  ///< bytes up to the end of the last sector touched, > 0
};
CompressedPlace compressed_place(L2Entry entry, unsigned cluster_bits) noexcept;

/// One entry of an L2 table, in memory. Stays valid while it is held; an entry that is to be
/// changed is changed before the next await.
struct EntryRef {
  std::shared_ptr<TableSlice> slice;
  std::size_t word = 0;  ///< of 8 bytes, in the slice
  bool extended = false;

  L2Entry get() const noexcept {
    return {slice->entry(word), extended ? slice->entry(word + 1) : 0};
  }
};

/// One L1 table and the L2 tables below it. Belongs to its image's ring.
class ClusterMap {
 public:
  /// `data` holds the data clusters: the image file itself, or the external data file.
  ClusterMap(const Header& header, File& metadata, File& data, MetadataCache& cache);

  /// Reads the L1 table. Errors: io, corrupt_image.
  Task<void> load_l1(std::uint64_t offset, std::uint32_t entries);
  EntryTable& l1() noexcept { return l1_; }

  /// As Image::map(), for guest bytes below the image's size; adjacent equal runs are joined.
  /// Errors: io, corrupt_image (an entry points to an impossible place).
  Task<std::vector<Mapping>> map(std::uint64_t offset, std::uint64_t length, std::size_t count_max);
  /// The first of them, without a list.
  Task<Mapping> find(std::uint64_t offset, std::uint64_t length);

  /// The compressed bytes that a mapping of kind compressed speaks of (its first cluster).
  Task<CompressedPlace> find_compressed(std::uint64_t offset);

  /// How many entries one slice of an L2 table has, as a power of two.
  unsigned slice_bits() const noexcept { return slice_bits_; }
  /// Guest bytes that one L2 table covers, as a power of two.
  unsigned table_bits() const noexcept { return header_.cluster_bits + header_.l2_bits(); }
  /// The host offset of the L2 table for a guest offset; 0: none. Errors: corrupt_image.
  Result<std::uint64_t> l2_table(std::uint64_t offset) const;
  /// The entry for a guest offset in the table at host offset `table`.
  Task<EntryRef> entry_at(std::uint64_t table, std::uint64_t offset);
  /// Whether an entry can be true; what is read from disk is not before this said so.
  Result<void> check(L2Entry entry, std::uint64_t offset) const;
  /// An uncompressed entry has a place. In an external data file 0 is one like any other.
  bool placed(L2Entry entry) const noexcept {
    return entry.offset() != 0 || (header_.has_data_file() && entry.copied());
  }

 private:
  class Collector;

  bool is_ahead(std::uint64_t offset) const noexcept {
    const std::uint64_t index = offset >> table_bits();
    return index >= ahead_begin_ && index < ahead_end_;
  }
  Task<void> read_ahead(std::uint64_t offset, std::uint64_t end);
  Task<void> collect(std::uint64_t offset, std::uint64_t length, Collector& out);
  Task<bool> map_slice(std::uint64_t& offset, std::uint64_t end, std::uint64_t table,
                       Collector& out);
  std::size_t entries_in_a_row(const EntryRef& ref, std::size_t count) const;
  bool add_entry(L2Entry entry, std::uint64_t offset, std::uint64_t length, Collector& out);
  bool add_subclusters(L2Entry entry, std::uint64_t offset, std::uint64_t length, Collector& out);
  std::unexpected<Error> corrupt(std::string_view what, std::uint64_t value,
                                 std::uint64_t guest_offset) const;

  const Header& header_;
  File& metadata_;
  File& data_;
  MetadataCache& cache_;
  EntryTable l1_;
  unsigned slice_bits_;
  // L1 indices whose tables were read together, last; for who goes through the image.
  std::uint64_t ahead_begin_ = 0;
  std::uint64_t ahead_end_ = 0;
};

}  // namespace platter::qcow2
