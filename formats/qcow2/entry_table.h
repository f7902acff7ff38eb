// The tables at the top, wholly in memory: the active L1 table and the refcount table.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Entries of 8 bytes with a fixed place in the file. Remembers which parts were changed, and
/// whether the table as a whole is new: such a table is written before anything points to it.
class EntryTable {
 public:
  /// `granule`: bytes that are written at once, a power of two up to the cluster size, at least 512.
  explicit EntryTable(std::size_t granule) : granule_(granule) {}

  /// Reads `count` entries. Errors: io; corrupt_image where the file ends before, with `name`.
  Task<void> load(File& file, std::uint64_t offset, std::size_t count, std::string_view name);

  std::uint64_t offset() const noexcept { return offset_; }  ///< of the table in the file, bytes
  std::size_t size() const noexcept { return entries_.size(); }
  std::uint64_t operator[](std::size_t index) const noexcept { return entries_[index]; }
  void set(std::size_t index, std::uint64_t value);
  /// The table at a new place, with `count` entries; added ones are 0. All of it is unwritten.
  void relocate(std::uint64_t offset, std::size_t count);
  /// Another table, which is on disk already.
  void replace(std::uint64_t offset, std::vector<std::uint64_t> entries);
  std::span<const std::uint64_t> entries() const noexcept { return entries_; }

  bool dirty() const noexcept { return moved_ || !dirty_.empty(); }

  /// What an epoch writes: bytes and where they go.
  struct Frozen {
    bool moved = false;  ///< a new table: before its pointer
    std::uint64_t offset = 0;
    std::size_t count = 0;
    std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> pieces{};
    std::set<std::size_t> granules{};
  };
  Frozen freeze();
  /// It was not written, or nobody knows.
  void thaw_unwritten(const Frozen& frozen);

 private:
  std::vector<std::byte> granule_bytes(std::size_t index) const;

  std::size_t granule_;
  std::uint64_t offset_ = 0;
  std::vector<std::uint64_t> entries_;  // host order
  std::set<std::size_t> dirty_;         // granules
  bool moved_ = false;
};

}  // namespace platter::qcow2
