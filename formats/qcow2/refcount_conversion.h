// Reference counts of another width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "formats/qcow2/allocator.h"
#include "formats/qcow2/refcount_window.h"
#include "formats/qcow2/writing.h"
#include "io/cancel.h"
#include "io/task.h"

namespace platter::qcow2 {

/// A new refcount table and new blocks, beside the old ones: they take clusters that the old counts
/// count, and then say what those say, in the new width. Until the header names them nothing does: a
/// crash leaves clusters that are counted and not used. What was there before is to be dropped then.
///
/// Blocks are read in large pieces, as many as may be in memory, and written in pieces of 1 MiB.
/// For an operation that has the image to itself. Belongs to its image's ring.
class RefcountConversion {
 public:
  struct Options {
    unsigned order = 4;          ///< 1 << order bits
    std::size_t memory_max = 0;  ///< bytes for old blocks, but one at least: more only saves time
    const CancelToken* cancel = nullptr;
    std::function<void(std::uint64_t bytes)> on_done = nullptr;  ///< told of old blocks converted
  };
  RefcountConversion(Writing& writing, Options options);

  /// Whether every count has room. Changes nothing. Errors: too_large (a count, in QEMU's words; the
  /// table), cancelled, io.
  Task<void> verify();

  struct Place {
    std::uint64_t table_offset = 0;
    std::uint32_t table_clusters = 0;
  };
  /// Writes them, durable only with the next flush. After an error what was taken is given back.
  /// Errors: as verify(); no_space, corrupt_image.
  Task<Place> build();
  /// Nothing is going to refer to what build() made.
  Task<void> give_up();
  /// Clusters of the old table and the old blocks: byte offsets. REQUIRES: build() went well.
  std::vector<std::uint64_t> old_clusters() const;

 private:
  Task<void> settle();
  Task<std::vector<std::uint64_t>> find_used_blocks();
  Result<bool> look_at(std::uint64_t first, std::uint64_t count, const std::byte* counts) const;
  Task<bool> take_what_lacks(const std::vector<std::uint64_t>& blocks);
  Task<void> write_blocks(std::vector<std::uint64_t> blocks);
  Task<void> fill(std::uint64_t block, std::span<std::byte> into);
  Task<void> write_table(const std::vector<std::uint64_t>& blocks);
  Task<Place> build_all();

  Writing& w_;
  Options options_;
  unsigned new_bits_;  // log2 of the counts of a new block
  RefcountWindow window_;
  ClusterRun table_;
  std::vector<ClusterRun> taken_;      // for blocks
  std::vector<std::uint64_t> places_;  // of these, each cluster's offset
};

}  // namespace platter::qcow2
