// Guest writes: in place where that is safe, into new clusters where it is not.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "formats/image.h"
#include "formats/qcow2/allocator.h"
#include "formats/qcow2/cluster_map.h"
#include "formats/qcow2/epochs.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/l2_tables.h"
#include "formats/qcow2/metadata_regions.h"
#include "io/async_mutex.h"
#include "io/buffer_pool.h"
#include "io/file.h"
#include "io/range_lock.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Writes at any alignment, any number at once. Those that touch different clusters do not wait
/// for each other; those that need the same new cluster queue.
///
/// A new cluster is written before its entry is set, so nobody ever sees what it held before. Only
/// what the request does not cover is copied, and not even that where both the old contents and
/// the new cluster are zeroes: an allocating write of 4 KiB is one write of 4 KiB.
///
/// With extended L2 entries the unit of all of this is a subcluster. Belongs to its image's ring.
class Writer {
 public:
  struct Parts {
    Header& header;
    Image& image;
    File& file;
    File& data;
    ClusterMap& map;
    L2Tables& tables;
    ClusterAllocator& allocator;
    MetadataRegions& regions;
    Epochs& epochs;
    bool discard_no_unref;  ///< discarded clusters stay allocated, as zero clusters
  };
  explicit Writer(const Parts& parts) : p_(parts) {}

  /// Guards guest ranges: shared for who reads or writes in place, exclusive for who changes
  /// entries.
  RangeLock& locks() noexcept { return locks_; }

  /// A cluster's last reference has gone.
  void on_free(std::uint64_t offset) noexcept;
  /// Any cluster may have gone.
  void forget_compressed_place() noexcept { compressed_at_ = 0; }

  /// REQUIRES: the range lies within the image. Errors: no_space, corrupt_image, io.
  Task<void> write(std::uint64_t offset, std::span<const std::byte> data);
  Task<void> write_zeroes(std::uint64_t offset, std::uint64_t length, ZeroMode mode);
  /// Whole clusters only (at the image's end also the last one); the edges keep what they hold.
  Task<void> discard(std::uint64_t offset, std::uint64_t length);
  /// As if nothing had ever been written there: what lies beyond the image's end.
  /// Both are multiples of the cluster size.
  Task<void> forget_clusters(std::uint64_t begin, std::uint64_t end);
  /// One reference of all that the entry refers to goes with the current epoch.
  void drop_contents(L2Entry entry, bool discard);
  /// Gives every cluster of the range a place of its own, with zeroes: metadata (holes in the file),
  /// falloc (space reserved) or full (zeroes written). Both are multiples of the cluster size, and
  /// nothing is there yet.
  Task<void> preallocate(std::uint64_t begin, std::uint64_t end, Preallocation mode,
                         const CancelToken* cancel);

  /// A place for up to `length` bytes that is the guest's own once commit() says so; until commit()
  /// or abandon() others wait who want these clusters.
  Task<WritePlace> prepare(std::uint64_t offset, std::uint64_t length);
  Task<void> commit(std::uint64_t offset);
  Task<void> abandon(std::uint64_t offset);

  /// A cluster compressed to less than its size.
  struct CompressedCluster {
    std::uint64_t guest = 0;  ///< a multiple of the cluster size
    std::span<const std::byte> data{};
    std::uint64_t host = 0;  ///< set by write_compressed()
  };
  /// In guest order. They are put side by side, as far as the file lets them.
  Task<void> write_compressed(std::span<CompressedCluster> clusters);

 private:
  static constexpr std::size_t kRunMax = 64;  // clusters that one step takes

  /// Clusters that get new contents together, contiguous in the file.
  struct Run {
    std::uint64_t begin = 0;  // guest offset, a multiple of the cluster size
    std::size_t count = 0;    // clusters
    bool reuse = false;       // they have a place already, whose contents don't count
    std::array<L2Entry, kRunMax> old{};
    ClusterRun host;
    // Guest bytes that will be valid in the new place; the request lies within.
    std::uint64_t fill_begin = 0;
    std::uint64_t fill_end = 0;
  };
  /// What prepare() has promised.
  struct Prepared {
    Prepared(RangeLock& locks, std::uint64_t begin, std::uint64_t length)
        : guard(locks, begin, length, /*exclusive=*/true) {}
    RangeLock::Guard guard;
    Run run;
  };
  enum class Target : std::uint8_t { in_place, reuse, fresh };
  enum class Removal : std::uint8_t { discard, zero_unmap, zero_keep, forget };

  std::uint64_t cluster_size() const noexcept { return p_.header.cluster_size(); }
  std::uint64_t granule() const noexcept {
    return p_.header.extended_l2() ? cluster_size() / kSubclusters : cluster_size();
  }
  Target target_of(L2Entry entry, std::uint64_t offset, std::uint64_t length) const noexcept;
  std::uint32_t subclusters(std::uint64_t begin, std::uint64_t end) const noexcept;
  Task<EntryRef> entry_to_look_at(std::uint64_t offset);

  Task<std::size_t> write_in_place(std::uint64_t offset, std::span<const std::byte> data);
  Task<std::size_t> write_new(std::uint64_t offset, std::span<const std::byte> data);
  Task<Run> plan(std::uint64_t offset, std::uint64_t length);
  void plan_fill(Run& run, std::uint64_t offset, std::uint64_t length) const;
  std::uint64_t run_end(std::uint64_t offset, std::uint64_t length) const noexcept;
  Task<void> fill(const Run& run, std::uint64_t offset, std::uint64_t length,
                  const std::byte* data);
  Task<bool> was_zero(L2Entry entry, std::uint64_t begin, std::uint64_t end);
  Task<void> read_old(std::uint64_t begin, std::uint64_t end, std::byte* into, bool zero);
  Task<bool> reads_as_zero(std::uint64_t begin, std::uint64_t end);
  Task<void> publish(const Run& run);
  L2Entry new_entry(const Run& run, std::size_t index) const noexcept;
  Task<void> release(const Run& run);
  Task<void> check_place(std::uint64_t host, std::uint64_t length);

  Task<void> write_zero_bytes(std::uint64_t offset, std::uint64_t length);
  struct GuestRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  Task<void> zero_edge(std::uint64_t offset, std::uint64_t length, ZeroMode mode);
  Task<GuestRange> zero_edge_in_entry(std::uint64_t offset, std::uint64_t end, ZeroMode mode);
  Task<bool> zero_subclusters(std::uint64_t offset, std::uint64_t length);
  Task<void> remove(std::uint64_t begin, std::uint64_t end, Removal how);
  Task<std::uint64_t> remove_in_slice(std::uint64_t begin, std::uint64_t end, Removal how);
  struct HostRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };
  bool leaves_unneeded(L2Entry entry, Removal how) const noexcept;
  Task<void> unmap_now(HostRange range);
  Task<void> remove_guarded(std::uint64_t begin, std::uint64_t stop, Removal how);
  Removal removal_of(L2Entry entry, Removal asked) const noexcept;
  std::optional<L2Entry> removed_entry(L2Entry entry, Removal how) const noexcept;
  Task<void> prepare_space(const Run& run, Preallocation mode);
  Task<bool> share_cluster(std::uint64_t host);
  Task<std::uint64_t> place_compressed(std::size_t length);
  Task<void> place_all(std::span<CompressedCluster> clusters, std::size_t& placed);
  Task<void> write_placed(std::span<const CompressedCluster> clusters);
  Task<void> publish_compressed(const CompressedCluster& cluster);
  Task<void> release_compressed(std::uint64_t host, std::size_t length);

  Parts p_;
  RangeLock locks_;
  std::map<std::uint64_t, std::unique_ptr<Prepared>> prepared_;  // by guest offset of the place
  // Where compressed data goes on in a host cluster that is partly used; 0: nowhere.
  std::uint64_t compressed_at_ = 0;
  AsyncMutex compressing_;
};

}  // namespace platter::qcow2
