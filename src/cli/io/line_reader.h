// Lines of commands from a terminal, a pipe or a file.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "io/task.h"
#include "src/cli/io/stop_event.h"

namespace platter::cli {

/// Requests of the ring go on while a line is awaited.
class LineReader {
 public:
  /// Bytes of a line: more is no command but a mistake.
  static constexpr std::size_t kLineMax = std::size_t{1} << 20;

  /// `fd` stays the caller's; `stop` outlives the reader.
  LineReader(int fd, const StopEvent& stop) noexcept : fd_(fd), stop_(stop) {}

  /// The next line, without its end; the last one may have none. Nothing: no more lines.
  /// Errors: io, too_large, cancelled.
  Task<std::optional<std::string>> next();

 private:
  Task<bool> fill();
  std::optional<std::string> take_line();

  int fd_;
  const StopEvent& stop_;
  std::string pending_;   // read, and not handed out yet
  std::size_t seen_ = 0;  // bytes of it that hold no line's end
  bool ended_ = false;
};

}  // namespace platter::cli
