// What to do with each run of a source: pure arithmetic, no I/O.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "formats/image.h"

namespace platter {

enum class CopyAction : std::uint8_t {
  copy,  ///< read, look for zeroes, write
  zero,  ///< make the target's range read as zeroes
  skip,  ///< the target reads as zeroes already
};

/// One unit of work on guest bytes [offset, offset + length).
struct CopyStep {
  CopyAction action = CopyAction::skip;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  /// For copy: where the bytes lie, if in one piece of one file; else Image::read() gets them.
  File* file = nullptr;
  std::uint64_t file_offset = 0;
  bool operator==(const CopyStep&) const = default;
};

struct CopyPlanOptions {
  std::uint64_t image_size = 0;      ///< bytes, of the whole source
  std::uint64_t chunk = 1 << 20;     ///< most bytes in a copy step; a power of two
  std::uint64_t alignment = 512;     ///< of copy steps' ends, where the image's end permits; a
                                     ///< power of two, at most `chunk`
  std::uint64_t gap_max = 16 << 10;  ///< zero runs shorter than this between data are read through
  std::uint64_t zero_chunk = 1 << 30;  ///< most bytes in a zero step
  bool target_is_zero = false;         ///< zero runs need nothing
  bool keep_backing = false;           ///< unallocated runs need nothing: both stand on the same
  std::uint64_t zero_from = 0;         ///< with target_is_zero: only from here on
  bool copy_zeroes = false;            ///< treat zero runs as data (`-S 0`)
};

/// Takes adjacent mappings in guest order, gives steps in guest order that cover the same bytes,
/// each byte once. Holds back at most the end of a run and the gap behind it, so neither memory nor
/// the wait for the first step grows with the image.
///
/// Copy steps end at multiples of `chunk`. Data is widened to `alignment` at the cost of
/// neighbouring zero runs, so that no two steps write to one device block.
class CopyPlanner {
 public:
  explicit CopyPlanner(const CopyPlanOptions& options);

  /// REQUIRES: mapping.offset is where the last one ended, at first 0.
  void add(const Mapping& mapping);
  /// No more mappings come.
  void finish();
  /// The next step, as far as it is decided.
  std::optional<CopyStep> next();

 private:
  /// A run of one kind whose end is still open to change.
  struct Run {
    bool data = false;
    bool skip = false;  ///< not data: nothing is to be done
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    File* file = nullptr;  ///< of one piece at file_offset; null: Image::read()
    std::uint64_t file_offset = 0;
  };

  void add_zero(std::uint64_t end);
  void add_skip(std::uint64_t end);
  void add_data(Run run);
  bool join(const Run& run);
  void settle();
  void settle_whole_chunks();
  Run widened(const Mapping& mapping) const noexcept;
  std::uint64_t aligned_end(std::uint64_t offset) const noexcept;

  CopyPlanOptions options_;
  std::uint64_t covered_ = 0;  // end of open_, or of gap_ where there is one
  std::optional<Run> open_;
  std::optional<Run> gap_;  // a zero run after data in open_
  std::deque<Run> settled_;
};

}  // namespace platter
