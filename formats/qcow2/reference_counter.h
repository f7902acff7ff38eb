// Adding up references to ranges of an image's file.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/qcow2/check_run.h"

namespace platter::qcow2 {

/// Adds to what a check has counted (run.counts), and tells what can't be in run.messages. Offsets
/// and sizes in bytes of the file, unchecked from disk. The run outlives it.
class ReferenceCounter {
 public:
  explicit ReferenceCounter(CheckRun& run) : run_(run), header_(run.header) {}

  void fault(std::string_view message, std::uint64_t weight = 1) {
    run_.report.corruptions += weight;
    run_.messages.add(message);
  }
  /// False for what begins or ends more than one cluster past the end of the file.
  bool ends_in_file(std::uint64_t offset, std::uint64_t size) const;
  /// The fault for such a range.
  static std::string beyond_end(std::uint64_t offset, std::uint64_t size);

  void count_range(std::uint64_t offset, std::uint64_t size, std::uint64_t references = 1);
  /// REQUIRES: ends_in_file(), and size > 0.
  void count_clusters(std::uint64_t offset, std::uint64_t size, std::uint64_t references);
  /// As count_range(), for many ranges that may overlap: together they cost no more than the file.
  /// Collected first, then counted with count_ranges().
  void add_range(std::uint64_t offset, std::uint64_t size, std::vector<SharedRange>& clusters);
  void count_ranges(std::span<const SharedRange> clusters);
  /// For a repair: what lies past the end of the file. REQUIRES: size > 0.
  void note_outside(std::uint64_t offset, std::uint64_t size, std::uint64_t references);
  /// More references than the width of the counts can tell: `excess` of them.
  void overflowed(std::uint64_t cluster, std::uint64_t excess);

 private:
  CheckRun& run_;
  const Header& header_;
};

}  // namespace platter::qcow2
