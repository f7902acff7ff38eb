// L2 tables in memory, in slices, least recently used first to go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <new>
#include <span>
#include <unordered_map>

#include "io/async_event.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// A part of an L2 table, as on disk. Shared: stays valid while someone holds it.
class TableSlice {
 public:
  explicit TableSlice(std::size_t size);
  std::span<std::byte> bytes() noexcept { return {data_.get(), size_}; }
  std::uint64_t entry(std::size_t index) const noexcept;  ///< 8 bytes each, big-endian

 private:
  struct Free {
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t{4096}); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> data_;
};

/// Belongs to its image's ring. At most `memory_max` bytes stay cached (one slice in any case).
/// Of many that ask for one slice at once, one reads it.
class TableCache {
 public:
  /// `slice_size` bytes, a power of two.
  TableCache(File& file, std::size_t slice_size, std::uint64_t memory_max);

  /// The slice at `offset` of the file, a multiple of the slice size. Errors: io; corrupt_image
  /// where the file ends before.
  Task<std::shared_ptr<TableSlice>> get(std::uint64_t offset);

  std::size_t slice_size() const noexcept { return slice_size_; }

 private:
  struct Cached {
    std::shared_ptr<TableSlice> slice;
    std::list<std::uint64_t>::iterator recency;
  };
  struct Loading {
    AsyncEvent done;
    Result<std::shared_ptr<TableSlice>> result{nullptr};
  };

  Task<std::shared_ptr<TableSlice>> load(std::uint64_t offset);
  void insert(std::uint64_t offset, const std::shared_ptr<TableSlice>& slice);

  File& file_;
  std::size_t slice_size_;
  std::size_t slices_max_;
  std::unordered_map<std::uint64_t, Cached> cached_;
  std::list<std::uint64_t> recency_;  // most recent first
  std::unordered_map<std::uint64_t, std::shared_ptr<Loading>> loading_;
};

}  // namespace platter::qcow2
