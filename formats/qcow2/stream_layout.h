// A qcow2 image whose every byte is known before the first is written, for a reader who can't seek.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "formats/qcow2/create_options.h"
#include "formats/qcow2/header.h"
#include "io/error.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Guest clusters in a row.
struct GuestRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

/// In the file one after the other: the header, the refcount table, its blocks, the L1 table, the L2
/// tables that there are, the clusters of data in guest order. Nothing is free or shared: each
/// cluster's count is 1. Memory: 24 bytes for each run.
class StreamLayout {
 public:
  /// `data`: clusters that are to be in the image, in guest order, no two runs touching. Others read as
  /// zeroes. Errors: as plan_image(); unsupported (options that need more than one pass: a backing
  /// file, a data file, preallocation).
  static Result<StreamLayout> plan(CreateOptions options, std::vector<GuestRun> data);

  /// Bytes of the whole file, a multiple of the cluster size.
  std::uint64_t file_size() const noexcept;
  /// Where the first byte of guest data lies; all before is metadata.
  std::uint64_t data_begin() const noexcept { return offset_of(data_cluster_); }

  /// Guest bytes that lie in the file at `offset`, as far as they are in one piece; REQUIRES:
  /// data_begin() <= offset < file_size().
  struct GuestRange {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
  };
  GuestRange guest_range_at(std::uint64_t offset, std::uint64_t length_max) const;

  /// The bytes from `offset` on. REQUIRES: all of them are metadata.
  void fill(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  struct Run {
    std::uint64_t guest = 0;
    std::uint64_t host = 0;
    std::uint64_t count = 0;
  };

  Result<void> place(const CreateOptions& options, const std::vector<GuestRun>& data);
  std::uint64_t offset_of(std::uint64_t cluster) const noexcept {
    return cluster << header_.cluster_bits;
  }
  std::uint64_t entry_at(std::uint64_t cluster, std::uint64_t index) const;
  std::uint64_t l2_entry(std::uint64_t guest_cluster) const;
  void fill_cluster(std::uint64_t cluster, std::uint64_t within, std::span<std::byte> into) const;
  void fill_counts(std::uint64_t block, std::uint64_t within, std::span<std::byte> into) const;

  Header header_;
  std::vector<std::byte> header_bytes_;
  std::vector<Run> runs_;
  std::vector<std::uint64_t> l2_indices_;  // of L1 entries that have a table, in order
  std::uint64_t table_cluster_ = 1;        // the refcount table
  std::uint64_t block_cluster_ = 0;        // the first refcount block
  std::uint64_t block_count_ = 0;
  std::uint64_t l1_cluster_ = 0;
  std::uint64_t l2_cluster_ = 0;
  std::uint64_t data_cluster_ = 0;
  std::uint64_t end_cluster_ = 0;
};

}  // namespace platter::qcow2
