// L2 tables and refcount blocks in memory, in slices, written back in epochs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <list>
#include <memory>
#include <new>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/async_event.h"
#include "io/bytes.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Memory for slices, all of one size: taken in large pieces, so that what comes and goes leaves no
/// gaps. One thread.
class SlicePool {
 public:
  explicit SlicePool(std::size_t slice_size) : slice_size_(slice_size) {}

  std::size_t slice_size() const noexcept { return slice_size_; }
  std::byte* take();
  void give_back(std::byte* slice) { free_.push_back(slice); }

 private:
  struct Free {
    void operator()(std::byte* data) const { ::operator delete(data, std::align_val_t{4096}); }
  };
  std::size_t slice_size_;
  std::vector<std::unique_ptr<std::byte, Free>> pieces_;
  std::vector<std::byte*> free_;
};

enum class TableKind : std::uint8_t { l2_table, refcount_block };

/// A part of a table, as on disk. Shared: stays in memory while someone holds it.
///
/// Invariant: what someone changed is marked dirty before anyone else runs, i.e. without an await
/// in between, so that an epoch sees all of a change or nothing of it.
class TableSlice {
 public:
  TableSlice(std::uint64_t offset, TableKind kind, std::shared_ptr<SlicePool> pool)
      : offset_(offset), kind_(kind), pool_(std::move(pool)), data_(pool_->take()) {}
  ~TableSlice() { pool_->give_back(data_); }
  TableSlice(const TableSlice&) = delete;
  TableSlice& operator=(const TableSlice&) = delete;

  std::uint64_t offset() const noexcept { return offset_; }  ///< in the file
  TableKind kind() const noexcept { return kind_; }
  std::span<std::byte> bytes() noexcept { return {data_, pool_->slice_size()}; }
  /// 8 bytes each, big-endian.
  std::uint64_t entry(std::size_t index) const noexcept {
    be64 value;
    std::memcpy(&value, data_ + index * sizeof value, sizeof value);
    return value;
  }
  void set_entry(std::size_t index, std::uint64_t value) noexcept {
    const be64 stored = value;
    std::memcpy(data_ + index * sizeof stored, &stored, sizeof stored);
  }

 private:
  friend class MetadataCache;
  std::uint64_t offset_;
  TableKind kind_;
  bool dirty_ = false;
  bool fresh_ = false;    // an L2 table that nothing on disk points to yet
  bool writing_ = false;  // a frozen copy of it is on its way
  std::shared_ptr<SlicePool> pool_;
  std::byte* data_;
};

/// What an epoch writes of one slice.
struct FrozenSlice {
  std::shared_ptr<TableSlice> slice;
  bool fresh = false;
};

/// Belongs to its image's ring. About `memory_max` bytes stay cached; dirty slices are never let
/// go, so whoever changes much looks at over_limit() and commits an epoch. Least recently used
/// first to go. Of many that ask for one slice at once, one reads it.
class MetadataCache {
 public:
  /// `slice_size` bytes, a power of two.
  MetadataCache(File& file, std::size_t slice_size, std::uint64_t memory_max);

  std::size_t slice_size() const noexcept { return slice_size_; }

  /// The slice at `offset` of the file, a multiple of the slice size. Errors: io; corrupt_image
  /// where the file ends before, or where the same bytes are in use as another kind of table.
  Task<std::shared_ptr<TableSlice>> get(std::uint64_t offset, TableKind kind);

  /// Reads `length` bytes from `offset` on at once and keeps what was not there: a hint, so the
  /// errors show when the slices are asked for. Both multiples of the slice size.
  Task<void> prefetch(std::uint64_t offset, std::uint64_t length, TableKind kind);

  /// Puts a new slice of zeroes there, dirty; what was cached of that place is forgotten.
  /// `fresh`: nothing on disk points to its table.
  std::shared_ptr<TableSlice> add_zeroed(std::uint64_t offset, TableKind kind, bool fresh);

  void mark_dirty(TableSlice& slice);
  /// Forgets what is cached of a cluster that is no table any more, changes included.
  void forget(std::uint64_t offset, std::uint64_t length);

  /// Forgets everything: tables are changed below. Gives the memory back, too.
  /// REQUIRES: nothing is dirty.
  void forget_all();

  bool has_dirty() const noexcept { return !dirty_.empty(); }
  /// Changes take more memory than they should.
  bool over_limit() const noexcept { return dirty_.size() > dirty_max_; }

  // For epochs only.

  /// All dirty slices, sorted by offset; they are clean now, and stay in memory until thawed.
  std::vector<FrozenSlice> freeze();
  /// They are on disk (or dirty again, where `written` is false).
  void thaw(std::vector<FrozenSlice>& slices, bool written);
  /// What was written of these tables is durable: from now on they are changed in order.
  void no_longer_fresh(std::vector<FrozenSlice>& slices);

 private:
  struct Cached {
    std::shared_ptr<TableSlice> slice;
    std::list<std::uint64_t>::iterator recency;  // end() while it may not go
  };
  struct Loading {
    AsyncEvent done;
    Result<std::shared_ptr<TableSlice>> result{nullptr};
    bool stale = false;  // forgotten while it was read
  };

  Task<std::shared_ptr<TableSlice>> load(std::uint64_t offset, TableKind kind);
  Result<void> check_kind(const TableSlice& slice, TableKind kind) const;
  void insert(const std::shared_ptr<TableSlice>& slice);
  void evict();
  void pin(Cached& cached);
  void unpin(Cached& cached, std::uint64_t offset);

  std::shared_ptr<TableSlice> new_slice(std::uint64_t offset, TableKind kind) const;

  File& file_;
  std::size_t slice_size_;
  std::shared_ptr<SlicePool> pool_;
  std::size_t slices_max_;
  std::size_t dirty_max_;
  std::unordered_map<std::uint64_t, Cached> cached_;
  std::list<std::uint64_t> recency_;  // of those that may go, most recent first
  std::unordered_map<std::uint64_t, std::shared_ptr<TableSlice>> dirty_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Loading>> loading_;
};

}  // namespace platter::qcow2
