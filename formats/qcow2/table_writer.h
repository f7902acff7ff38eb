// Writes the tables of a new image.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "io/buffer_pool.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"
#include "io/task_group.h"

namespace platter::qcow2 {

/// Small pieces in, few large writes out, many of them in flight: what follows on what came before
/// joins it. At most 4 MiB of memory. Pieces do not overlap.
class TableWriter {
 public:
  /// Writes in flight: the limit for `group`.
  static constexpr std::size_t kInFlight = 15;

  /// All outlive it, and the group joins before the file is used otherwise.
  TableWriter(File& file, TaskGroup& group, const CancelToken* cancel)
      : file_(file), group_(group), cancel_(cancel) {}

  /// Puts a part of a table, `into.size()` bytes from `position` on, into memory that is zero.
  using Fill = std::function<void(std::uint64_t position, std::span<std::byte> into)>;
  /// A table of `length` bytes at `offset`, filled part by part, each a multiple of 512 bytes from
  /// its start. No `fill`: zeroes.
  Task<void> add(std::uint64_t offset, std::uint64_t length, Fill fill);
  /// Starts what is left. Afterwards nothing is added.
  Task<void> finish();

 private:
  Task<void> make_room(std::uint64_t offset, std::size_t length);

  File& file_;
  TaskGroup& group_;
  const CancelToken* cancel_;
  Buffer buffer_;
  std::uint64_t begin_ = 0;  // of what is in the buffer, in the file
  std::size_t filled_ = 0;
};

}  // namespace platter::qcow2
