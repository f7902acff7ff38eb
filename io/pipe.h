// Bytes in order, in one direction: pipes, FIFOs, sockets, and whatever else a shell connects.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "io/cancel.h"
#include "io/error.h"
#include "io/task.h"
#include "io/unique_fd.h"

namespace platter {

/// Belongs to a ring's thread; one request at a time. Waiting is done on a worker, and a
/// cancellation is heard within a tenth of a second.
class PipeReader {
 public:
  /// `name` is for messages. Errors: wrong_type (a terminal, a folder), io.
  static Result<std::unique_ptr<PipeReader>> make(UniqueFd fd, std::string name);

  const std::string& name() const noexcept { return name_; }
  /// Reads until `into` is full or the other side is done; returns the count, which is short only at
  /// the end. Errors: io, cancelled.
  Task<std::size_t> read(std::span<std::byte> into, const CancelToken* cancel);

 private:
  PipeReader(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  UniqueFd fd_;
  std::string name_;
};

/// The same for writing.
class PipeWriter {
 public:
  /// Errors: wrong_type (a terminal), io.
  static Result<std::unique_ptr<PipeWriter>> make(UniqueFd fd, std::string name);

  const std::string& name() const noexcept { return name_; }
  /// Writes all of `data`. Errors: io (EPIPE: nobody reads any more, and no signal says so), no_space,
  /// cancelled.
  Task<void> write(std::span<const std::byte> data, const CancelToken* cancel);
  /// What was written is on the disk, if it went to a file. Errors: io.
  Task<void> finish();

 private:
  PipeWriter(UniqueFd fd, std::string name, std::size_t piece)
      : fd_(std::move(fd)), name_(std::move(name)), piece_(piece) {}

  UniqueFd fd_;
  std::string name_;
  std::size_t piece_;  // bytes that one write() may have without a wait that nobody could end
};

}  // namespace platter
