// Host clusters: finding free ones, giving up used ones.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "formats/qcow2/header.h"
#include "formats/qcow2/metadata_regions.h"
#include "formats/qcow2/refcounts.h"
#include "io/async_mutex.h"
#include "io/bytes.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Contiguous host clusters.
struct ClusterRun {
  std::uint64_t offset = 0;    ///< bytes, a multiple of the cluster size
  std::uint64_t count = 0;     ///< clusters
  bool reads_as_zero = false;  ///< nothing was ever written there
};

/// References that are gone once the epoch that removed them is on disk.
struct Drop {
  std::uint64_t cluster = 0;  ///< index
  bool discard = false;       ///< the guest does not need its contents: give the space back
};

/// Hands out host clusters, first fit, and extends the file ahead of their use. Belongs to its
/// image's ring.
///
/// Invariant: a cluster handed out has a count above 0 in memory, which is on disk before anything
/// on disk refers to it. It is handed out again only after the epoch that dropped its last
/// reference is on disk.
class ClusterAllocator {
 public:
  ClusterAllocator(Header& header, File& file, Refcounts& refcounts, MetadataRegions& regions);

  /// Learns the file's size. Before anything else.
  Task<void> start();

  /// `count` contiguous clusters, each with one reference. Errors: no_space (the device, or what the
  /// format can address, is full), corrupt_image (a cluster said to be free holds metadata), io.
  Task<ClusterRun> allocate(std::uint64_t count);
  /// The same, but where there is no gap of that size it may be fewer, at least one.
  Task<ClusterRun> allocate_up_to(std::uint64_t count);
  /// One more reference for the cluster at `offset`. Errors: too_large where there can't be one more.
  Task<void> raise(std::uint64_t offset) { return refcounts_.raise(index_of(offset), 1); }

  /// Gives up clusters that nothing on disk refers to, or ever did.
  Task<void> release_unpublished(ClusterRun run);

  /// One reference of the cluster at `offset` goes with the current epoch.
  void drop(std::uint64_t offset, bool discard = false) {
    drops_.push_back({index_of(offset), discard});
  }
  /// Clusters that someone else has counted down to 0, on disk: gives their space back.
  Task<void> reclaim(std::uint64_t first, std::uint64_t count);
  /// Told of every cluster whose last reference has gone.
  void on_free(std::function<void(std::uint64_t offset)> told) { on_free_ = std::move(told); }

  // For epochs.

  bool has_drops() const noexcept { return !drops_.empty(); }
  /// So many that they take more memory than they should.
  bool has_many_drops() const noexcept { return drops_.size() > kDropsMax; }
  std::vector<Drop> take_drops() { return std::exchange(drops_, {}); }
  void put_back(const std::vector<Drop>& drops) {
    drops_.insert(drops_.end(), drops.begin(), drops.end());
  }
  /// The references are gone from the disk: lowers the counts, in memory, and gives back space.
  /// What could not be done is put back. Errors: io; corrupt_image where a count was too small.
  Task<void> apply(std::vector<Drop> drops);

  /// Cuts the file behind the last cluster in use, but data that was there from the start only if
  /// clusters were given up: an image whose counts are too small loses nothing. When nothing else
  /// goes on.
  Task<void> trim();
  /// Where the file's last cluster ends; none that is in use lies behind it.
  std::uint64_t file_end() const noexcept { return align_up(file_size_, header_.cluster_size()); }

 private:
  static constexpr std::size_t kDropsMax = std::size_t{1} << 19;  // 8 MiB

  std::uint64_t index_of(std::uint64_t offset) const noexcept {
    return offset >> header_.cluster_bits;
  }
  Task<std::uint64_t> find_free(std::uint64_t count);
  Task<bool> add_missing_block(std::uint64_t first, std::uint64_t count);
  Task<void> grow_table(std::uint64_t block);
  Task<void> extend_to(std::uint64_t end);
  Task<void> reserve_to(std::uint64_t end);
  Task<void> reserve(std::uint64_t begin, std::uint64_t end);
  Task<void> apply_sorted(const std::vector<Drop>& drops, std::size_t& done);
  Task<void> give_back_space(const std::vector<Drop>& drops);
  Task<void> discard(std::uint64_t first, std::uint64_t count);
  bool take_fresh(std::uint64_t first, std::uint64_t count);
  Task<std::uint64_t> last_used_end();
  Task<std::uint64_t> kept_end(std::uint64_t used_end);

  Header& header_;
  File& file_;
  Refcounts& refcounts_;
  MetadataRegions& regions_;
  AsyncMutex mutex_;
  std::uint64_t next_ = 0;         // where the search begins: all below are in use, or were skipped
  std::uint64_t fresh_from_ = 0;   // clusters from here on were never written
  std::uint64_t file_size_ = 0;    // bytes
  std::uint64_t old_size_ = 0;     // bytes; before this extended it
  std::uint64_t reserved_to_ = 0;  // bytes; 0: nothing was
  std::uint64_t kept_size_ = 0;    // bytes that trim() leaves; 0 once clusters were given up
  bool reserves_ = true;
  std::vector<Drop> drops_;
  std::function<void(std::uint64_t)> on_free_;
};

}  // namespace platter::qcow2
