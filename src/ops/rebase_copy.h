// The clusters in which two backing images differ, written to the overlay.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "formats/qcow2/qcow2_image.h"
#include "io/task.h"
#include "io/task_group.h"
#include "src/ops/mapping_cursor.h"
#include "src/ops/rebase.h"

namespace platter {

/// Looks at what the overlay leaves to its backing image, in pieces, many at a time. What both
/// backing images have at the same place of the same file, or not at all, need not be read. The rest
/// is compared cluster by cluster (subcluster, where entries know of these); past the end of an
/// image are zeroes. One thread; memory: 16 MiB, or 32 MiB where clusters are larger than 512 KiB.
class RebaseCopy {
 public:
  /// `new_backing`: null for none. All outlive this.
  RebaseCopy(qcow2::Qcow2Image& overlay, Image* new_backing, const RebaseOptions& options);

  /// Not durable when it returns. Errors: cancelled, those of the images, in qemu-img's words.
  Task<RebaseStats> run();

 private:
  /// Guest bytes [begin, end): whole units, as far as the overlay leaves them to its backing image.
  struct Piece {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    bool old_is_zero = false;
    bool new_is_zero = false;
  };
  /// How a run of units gets into the overlay.
  enum class Way : std::uint8_t { none, zero, data, compressed };
  /// What there is in the place of what the overlay leaves to its backing image.
  struct Sight {
    Mapping before;
    Mapping after;
    bool before_is_zero = false;
    bool after_is_zero = false;
    bool same = false;  // no need to look at the data
  };

  Task<void> produce(TaskGroup& group);
  Task<Sight> look(std::uint64_t at);
  static bool same(const Sight& sight);
  Piece piece_at(std::uint64_t at, std::uint64_t own_end, const Sight& sight) const noexcept;
  Task<void> do_piece(Piece piece);
  Task<void> read_both(Piece piece, std::span<std::byte> before, std::span<std::byte> after);
  Task<void> write_differing(Piece piece, std::span<const std::byte> before,
                             std::span<const std::byte> after);
  Way way_of(std::uint64_t begin, std::uint64_t end, std::span<const std::byte> before,
             std::span<const std::byte> after) const noexcept;
  Task<void> write_run(Way way, std::uint64_t begin, std::span<const std::byte> data);
  std::uint64_t unit_end(std::uint64_t begin, std::uint64_t limit) const noexcept;
  void tell(std::uint64_t bytes) const;

  qcow2::Qcow2Image& overlay_;
  Image* old_;  // null: none
  Image* new_;  // the same
  const RebaseOptions& options_;
  unsigned shared_depth_ = 0;   // of the new backing image in the overlay's chain; 0: not there
  std::uint64_t unit_;          // bytes that an entry can say something of; a power of two
  std::uint64_t chunk_;         // bytes in a piece, at most; a multiple of it
  std::uint64_t held_end_ = 0;  // of the last run that the overlay holds
  MappingCursor own_;
  MappingCursor before_;
  MappingCursor after_;
  RebaseStats stats_;
};

}  // namespace platter
