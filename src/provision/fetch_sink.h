// Writes what a template source brings into its target, in order, digested on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "crypto/digest.h"
#include "io/buffer_pool.h"
#include "io/file.h"
#include "io/task.h"
#include "io/task_group.h"
#include "src/provision/template_source.h"

namespace platter::provision {

/// begin(), take() and finish(); after an error of take(), begin() again at any offset up to
/// offset(). One piece is read while the one before it is digested and written: 2 MiB of memory.
/// Runs of 4 KiB of zeroes are not written. Belongs to its ring's thread; all it is given outlives it.
///
/// Errors: those of the target and of `read`; too_large, wrong_digest, cancelled.
class FetchSink {
 public:
  /// Brings the next bytes, as many as fit or fewer; none at the end only.
  using Read = std::function<Task<std::size_t>(std::span<std::byte> into)>;

  FetchSink(File& target, const FetchOptions& options, std::string source_name);

  /// Keeps the target's first `offset` bytes, whose digest is computed if one is expected, and gives
  /// up the rest. If fewer are there: not_found, and nothing has changed.
  Task<void> begin(std::uint64_t offset);
  /// Takes all that `read` brings. After an error, too, the target is as long as what it has.
  Task<void> take(const Read& read);
  /// The size is right, and so is the digest.
  Task<FetchResult> finish();

  /// Where the next byte goes: those before it are written.
  std::uint64_t offset() const noexcept { return written_; }
  /// An error if a template of that size is more than is allowed.
  Result<void> check_size(std::uint64_t size) const;

 private:
  Task<void> produce(TaskGroup& group, const Read& read);
  Task<void> consume(Buffer buffer, std::size_t count);
  Task<void> digest_existing(std::uint64_t length);
  Task<void> digest(std::span<const std::byte> bytes);
  void tell_progress(std::uint64_t offset);

  File& target_;
  const FetchOptions& options_;
  std::string source_name_;
  std::optional<Digest> digest_;
  std::uint64_t written_ = 0;  // bytes of the target that are right
  std::uint64_t resumed_ = 0;
  std::uint64_t told_ = 0;  // to options_.progress
};

}  // namespace platter::provision
