// Progress for programs: JSON lines on a descriptor of their choice.
#pragma once

#include <chrono>
#include <string>

#include "io/error.h"
#include "src/cli/arguments.h"
#include "src/ops/progress.h"

namespace platter::cli {

/// For verbs that have -p.
inline constexpr Option kProgressOptions[] = {
    {0, "json-progress", "FD", "progress as JSON lines on this descriptor; the last tells the end",
     true},
};

/// {"operation":"convert","done":1048576,"total":4194304,"rate":209715200,"elapsed":0.005} ten times a
/// second, in bytes, bytes each second and seconds; "total" is null while it is not known. The last line
/// has "ended" too: "complete", "failed" or "cancelled", with "exit_code" and perhaps "error". Where nobody
/// reads any more, nothing more is written.
class JsonProgress {
 public:
  /// Errors: invalid_argument (no descriptor that can be written to).
  static Result<JsonProgress> on(const std::string& descriptor, std::string operation);

  void update(const Progress& progress);
  /// What the end was like, unless it was a good one.
  void failed(std::string_view message);
  void cancelled() { ended_ = "cancelled"; }
  /// Writes the last line.
  void end(int exit_code);

 private:
  JsonProgress(int fd, std::string operation) : fd_(fd), operation_(std::move(operation)) {}
  std::string fields() const;
  void write_line(const std::string& line);

  int fd_;
  std::string operation_;
  std::string ended_ = "complete";
  std::string error_;
  std::uint64_t done_ = 0;
  std::uint64_t total_ = 0;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace platter::cli
