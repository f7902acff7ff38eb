// Many metadata tables read at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "io/bytes.h"
#include "io/cancel.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::qcow2 {

/// Tables of one size, in memory of at most 8 MiB (or one table). What lies past the end of the
/// file is zero. Belongs to the file's thread.
class TableBatch {
 public:
  /// `table_size` in bytes, at most 2 MiB; a `cancel` is looked at before each read().
  TableBatch(File& file, std::size_t table_size, const CancelToken* cancel);

  /// How many tables read() takes.
  std::size_t capacity() const noexcept { return capacity_; }
  /// Reads the tables at these offsets; neighbours in ascending order by one request.
  /// Errors: io, cancelled. REQUIRES: offsets.size() <= capacity().
  Task<void> read(std::span<const std::uint64_t> offsets);
  std::span<std::byte> table(std::size_t index) const noexcept {
    return {memory_.get() + index * table_size_, table_size_};
  }

 private:
  Task<void> read_run(std::uint64_t offset, std::span<std::byte> into);

  struct Release {
    void operator()(std::byte* memory) const noexcept {
      ::operator delete(memory, std::align_val_t{kAlignment});
    }
  };
  static constexpr std::size_t kAlignment = 4096;

  File& file_;
  std::size_t table_size_;
  std::size_t capacity_;
  const CancelToken* cancel_;
  std::unique_ptr<std::byte, Release> memory_;
};

/// Reads, and fills what lies past the end of the file with zeroes.
Task<void> read_zero_filled(File& file, std::uint64_t offset, std::span<std::byte> into);

/// Writes bytes of a new table, and zeroes up to the end of a block of 4 KiB or of a cluster. What
/// lies behind in their last cluster is read by nobody: it may stay a hole.
Task<void> write_new_table(File& file, std::uint64_t offset, std::span<const std::byte> bytes,
                           std::uint64_t cluster_size);

/// The big-endian word with this index.
inline std::uint64_t table_word(std::span<const std::byte> table, std::size_t index) noexcept {
  be64 word;
  std::memcpy(&word, table.data() + index * sizeof word, sizeof word);
  return word;
}
inline void set_table_word(std::span<std::byte> table, std::size_t index,
                           std::uint64_t value) noexcept {
  const be64 word = value;
  std::memcpy(table.data() + index * sizeof word, &word, sizeof word);
}

}  // namespace platter::qcow2
