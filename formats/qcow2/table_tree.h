// All L2 tables below one L1 table, each of them once, read and changed in large pieces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "formats/qcow2/cluster_map.h"
#include "formats/qcow2/cluster_type.h"
#include "formats/qcow2/header.h"
#include "formats/qcow2/table_batch.h"
#include "formats/qcow2/table_memo.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// The tables in the order of their places, in groups of up to 1 MiB. What an L1 table says of one
/// L2 table many times is done once: time is bounded by the file, not by what the image claims.
class TableTree {
 public:
  /// Errors: corrupt_image (a table at an impossible place), with `file` as the file's name.
  static Result<TableTree> make(const Header& header, std::span<const std::uint64_t> l1,
                                const std::string& file);

  std::span<const std::uint64_t> tables() const noexcept { return tables_; }
  /// How many L1 entries refer to the table with this index.
  std::uint64_t weight(std::size_t table) const noexcept {
    return weights_.empty() ? 1 : weights_[table];
  }
  bool has_duplicates() const noexcept { return !weights_.empty(); }

  std::size_t group_count() const noexcept {
    return (tables_.size() + group_tables_ - 1) / group_tables_;
  }
  std::size_t group_of(std::size_t table) const noexcept { return table / group_tables_; }

  /// Shown a table; may change it, and returns whether it has.
  using Visit = std::function<Result<bool>(std::size_t table, std::span<std::byte> bytes)>;
  struct Pass {
    std::function<bool(std::size_t group)> wanted = nullptr;  ///< null: all groups
    const CancelToken* cancel = nullptr;                      ///< looked at before each group
    TableMemo* memo = nullptr;  ///< what it knows is not read; it is told what is
  };
  /// Shows all tables of the wanted groups, several groups at once, and writes back what was
  /// changed. Past the end of the file tables are zeroes. Errors: io, cancelled, the visitor's.
  Task<void> visit(File& file, Visit visit, Pass pass) const;

 private:
  static constexpr std::size_t kGroupBytes = 1 * kMiB;
  static constexpr std::size_t kGroupsAtOnce = 8;
  static constexpr std::size_t kRequestsOfGroup = 16;

  class Walk;

  explicit TableTree(std::size_t table_size)
      : table_size_(table_size),
        group_tables_(std::max<std::size_t>(1, kGroupBytes / table_size)) {}

  std::size_t table_size_;    // bytes
  std::size_t group_tables_;  // tables
  std::vector<std::uint64_t> tables_;
  std::vector<std::uint32_t> weights_;  // empty: all 1
};

/// Clusters that entries refer to, one after the other: indices.
struct ReferredRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};

/// Calls `visit(ReferredRun)` for what an L2 table's entries refer to, neighbours together; ends
/// with its first error. A cluster is named as often as it is referred to.
/// Errors: corrupt_image for an entry that no image can have: just "which, and what it holds".
template <class Visit>
Result<void> for_each_run(const Header& header, std::span<const std::byte> table,
                          const Visit& visit) {
  const std::size_t stride = header.l2_entry_size() / sizeof(std::uint64_t);
  const std::size_t words = table.size() / sizeof(std::uint64_t);
  const std::uint64_t cluster_size = header.cluster_size();
  for (std::size_t i = 0; i < words;) {
    const L2Entry entry(table_word(table, i), 0);
    i += stride;
    ReferredRun run;
    if (entry.compressed()) {
      const CompressedPlace place = compressed_place(entry, header.cluster_bits);
      run.first = place.offset >> header.cluster_bits;
      run.count = ((place.offset + place.length - 1) >> header.cluster_bits) + 1 - run.first;
    } else if (const std::uint64_t offset = entry.offset(); offset != 0) {
      if (!is_aligned(offset, cluster_size)) {
        return fail(ErrorKind::corrupt_image, "entry " + std::to_string(i / stride - 1) +
                                                  " can't be: " + std::to_string(entry.raw()));
      }
      std::uint64_t next = offset + cluster_size;
      for (; i < words; i += stride, next += cluster_size) {
        const std::uint64_t word = table_word(table, i);
        if ((word & kCompressedFlag) != 0 || L2Entry(word, 0).offset() != next) break;
      }
      run = {offset >> header.cluster_bits, (next - offset) >> header.cluster_bits};
    } else {
      continue;
    }
    if (Result<void> visited = visit(run); !visited) return visited;
  }
  return {};
}

}  // namespace platter::qcow2
