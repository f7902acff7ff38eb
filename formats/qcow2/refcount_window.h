// Refcount blocks by the thousand, wholly in memory, for who counts all references at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

#include "formats/qcow2/entry_table.h"
#include "formats/qcow2/header.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// As many blocks as fit, in the order of the table: a window upon the counts of the whole file.
/// Reads and writes the file beside any cache. Belongs to the file's thread.
class RefcountWindow {
 public:
  enum class Change : std::uint8_t { raise, lower };

  /// `table` is the refcount table; `memory_max` bytes for blocks, but one block at least.
  /// All outlive the window.
  RefcountWindow(const Header& header, File& file, const EntryTable& table, std::size_t memory_max);

  /// Reads the blocks from table index `first_block` on. Changes that were not written are
  /// forgotten. Errors: io.
  Task<void> load(std::uint64_t first_block);
  std::uint64_t first_block() const noexcept { return begin_block_; }
  /// The table index behind the last block that is here.
  std::uint64_t next_block() const noexcept { return end_block_; }
  /// No block is elsewhere.
  bool whole() const noexcept { return begin_block_ == 0 && end_block_ == table_.size(); }

  /// Adds or takes `by` for each of `count` clusters (indices) that the window shows; others are
  /// left out. Errors: too_large (a count would be over the maximum), corrupt_image (it would be
  /// below 0; or it is 0 already and is to be raised: something refers to a free cluster). After an
  /// error, which names no file, what the window holds is not to be written. Returns whether a count is 0 now.
  Result<bool> change(Change change, std::uint64_t first, std::uint64_t count, std::uint64_t by);

  bool shows(std::uint64_t cluster) const noexcept {
    const std::uint64_t block = cluster >> block_bits_;
    return block >= begin_block_ && block < end_block_;
  }
  /// The counts of the block that has this cluster's; null: all are 0. REQUIRES: shows(cluster).
  const std::byte* counts_of(std::uint64_t cluster) const noexcept {
    return block_at(cluster >> block_bits_);
  }
  unsigned block_bits() const noexcept { return block_bits_; }  ///< log2 of the counts of a block
  /// REQUIRES: shows(cluster).
  std::uint64_t get(std::uint64_t cluster) const noexcept;

  /// Writes the blocks that were changed. Errors: io, no_space.
  Task<void> write();

 private:
  struct Release {
    void operator()(std::byte* memory) const noexcept {
      ::operator delete(memory, std::align_val_t{kAlignment});
    }
  };
  static constexpr std::size_t kAlignment = 4096;
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  std::uint64_t offset_of(std::uint64_t block) const noexcept;
  std::byte* block_at(std::uint64_t block) const noexcept {
    const std::uint32_t slot = slots_[block - begin_block_];
    if (slot == kNone) return nullptr;
    return memory_.get() + std::size_t{slot} * header_.cluster_size();
  }
  Result<bool> change_block(Change change, std::uint64_t first, std::uint64_t count,
                            std::uint64_t by);
  std::unexpected<Error> refuse(Change change, std::uint64_t cluster, std::uint64_t before) const;
  /// Runs of slots whose blocks are neighbours in the file, at most 1 MiB each.
  struct SlotRun {
    std::uint64_t offset;  // in the file
    std::size_t slot;
    std::size_t count;
  };
  std::vector<SlotRun> runs(bool changed_only) const;
  std::span<std::byte> bytes_of(const SlotRun& run) const noexcept {
    return {memory_.get() + run.slot * header_.cluster_size(), run.count * header_.cluster_size()};
  }
  Task<void> read_run(SlotRun run);
  Task<void> write_run(SlotRun run);

  const Header& header_;
  File& file_;
  const EntryTable& table_;
  unsigned block_bits_;
  std::size_t capacity_;  // blocks
  std::uint64_t begin_block_ = 0;
  std::uint64_t end_block_ = 0;
  std::vector<std::uint32_t> slots_;   // for each block from begin_block_ on
  std::vector<std::uint64_t> places_;  // of each slot's block in the file
  std::vector<bool> changed_;          // for each slot
  std::unique_ptr<std::byte, Release> memory_;
};

}  // namespace platter::qcow2
