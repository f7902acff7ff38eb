#include "src/cli/io/line_reader.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace platter::cli {

Task<std::optional<std::string>> LineReader::next() {
  for (;;) {
    if (std::optional<std::string> line = take_line()) co_return line;
    if (ended_) co_return std::nullopt;
    if (pending_.size() > kLineMax) {
      co_return fail(ErrorKind::too_large, "A line of input is longer than any command");
    }
    ended_ = !co_await fill();
  }
}

std::optional<std::string> LineReader::take_line() {
  const std::size_t end = pending_.find('\n', seen_);
  seen_ = pending_.size();
  if (end == pending_.npos && (!ended_ || pending_.empty())) return std::nullopt;
  std::string line = pending_.substr(0, end);
  pending_.erase(0, end == pending_.npos ? end : end + 1);
  seen_ = 0;
  return line;
}

// Reads what there is; false: nothing more comes. Only called when there is something, so that the
// read itself does not wait.
Task<bool> LineReader::fill() {
  co_await stop_.wait(fd_, std::nullopt);
  std::array<char, 4096> chunk;
  const ssize_t count = ::read(fd_, chunk.data(), chunk.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) co_return true;
  if (count < 0) co_return fail_errno(errno, "read", "standard input");
  pending_.append(chunk.data(), static_cast<std::size_t>(count));
  co_return count > 0;
}

}  // namespace platter::cli
