// Random sequences of operations on a file, and what the file should hold after them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "io/file.h"
#include "tests/support/file_operation.h"

namespace platter::test {

/// The seed to test with: $PLATTER_SEED if it is set, otherwise a new one. Printed, so that a
/// failure can be replayed: PLATTER_SEED=123 scripts/test -k ...
std::uint64_t test_seed();

/// Bytes that depend on `seed` only.
void fill_random(std::span<std::byte> bytes, std::uint64_t seed);
std::vector<std::byte> random_bytes(std::size_t count, std::uint64_t seed);

/// One operation: read, write, flush, write_zeroes, discard or truncate.
struct FileStep {
  FileOperation operation = FileOperation::read;
  std::uint64_t offset = 0;  ///< truncate: the new size
  std::uint64_t length = 0;
  std::uint64_t data_seed = 0;  ///< write: what to write
  ZeroMode mode = ZeroMode::may_unmap;

  std::vector<std::byte> data() const { return random_bytes(length, data_seed); }
};
std::string to_string(const FileStep& step);

struct StepOptions {
  std::uint64_t size_max = 256 * 1024;  ///< no operation goes past it
  std::uint64_t length_max = 48 * 1024;
  /// Offsets and lengths are multiples of this; 1: mostly odd ones, some aligned to blocks.
  std::uint64_t alignment = 1;
  bool fixed_size = false;  ///< a device: no truncate, nothing past the end
};

/// An endless sequence, the same for the same seed and options. Likes the end of the file and the
/// borders of blocks.
class RandomSteps {
 public:
  explicit RandomSteps(std::uint64_t seed, StepOptions options = {})
      : options_(options), random_(seed) {}

  /// For a file that has `size` bytes now.
  FileStep next(std::uint64_t size);

 private:
  std::uint64_t below(std::uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  std::uint64_t pick_offset(std::uint64_t size, std::uint64_t limit);
  std::uint64_t pick_length();

  StepOptions options_;
  std::mt19937_64 random_;
};

/// What a file holds, byte by byte. After a discard nobody knows, until something else is written.
class FileModel {
 public:
  FileModel() = default;
  explicit FileModel(std::vector<std::byte> bytes)
      : bytes_(std::move(bytes)), known_(bytes_.size(), true) {}

  std::uint64_t size() const noexcept { return bytes_.size(); }
  const std::vector<std::byte>& bytes() const noexcept { return bytes_; }

  void apply(const FileStep& step);

  /// How `actual`, what was read at `offset`, differs; empty if it does not.
  std::string difference(std::uint64_t offset, std::span<const std::byte> actual) const;

  /// After `step` failed: each byte may be as before or as after it, and the size anything between.
  /// Takes `actual`, the whole file, as the truth from now on; returns what is neither, or nothing.
  std::string settle(const FileStep& step, std::vector<std::byte> actual);

 private:
  std::vector<std::byte> bytes_;
  std::vector<bool> known_;
};

/// Does one step on the file, and on the model if it succeeds. What a read yields is compared: a
/// difference is a test failure that names the step. Ends with the error of the file.
Task<void> perform(File& file, FileModel& model, FileStep step);

/// Everything that the file holds.
Task<std::vector<std::byte>> read_all(File& file);

}  // namespace platter::test
