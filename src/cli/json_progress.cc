#include "src/cli/json_progress.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>

#include <fmt/format.h>

#include "formats/json_reader.h"

namespace platter::cli {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(100);

}  // namespace

Result<JsonProgress> JsonProgress::on(const std::string& descriptor, std::string operation) {
  int fd = -1;
  const char* const end = descriptor.data() + descriptor.size();
  const auto [rest, error] = std::from_chars(descriptor.data(), end, fd);
  const bool is_number = error == std::errc() && rest == end && fd >= 0;
  const int flags = is_number ? ::fcntl(fd, F_GETFL) : -1;
  if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) {
    return fail(
        ErrorKind::invalid_argument,
        fmt::format("--json-progress: '{}' is no descriptor that can be written to", descriptor));
  }
  ::signal(SIGPIPE, SIG_IGN);
  return JsonProgress(fd, std::move(operation));
}

void JsonProgress::update(const Progress& progress) {
  done_ = progress.done();
  total_ = progress.total();
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < kInterval) return;
  last_ = now;
  write_line("{" + fields() + "}\n");
}

void JsonProgress::failed(std::string_view message) {
  ended_ = "failed";
  error_ = message;
}

void JsonProgress::end(int exit_code) {
  std::string line =
      fmt::format("{{{}, \"ended\": \"{}\", \"exit_code\": {}", fields(), ended_, exit_code);
  if (!error_.empty()) line += ", \"error\": " + json_quoted(error_);
  write_line(line + "}\n");
}

std::string JsonProgress::fields() const {
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start_;
  const double rate = elapsed.count() > 0 ? static_cast<double>(done_) / elapsed.count() : 0;
  return fmt::format(
      "\"operation\": \"{}\", \"done\": {}, \"total\": {}, \"rate\": {:.0f}, \"elapsed\": {:.3f}",
      operation_, done_, total_ == 0 ? "null" : std::to_string(total_), rate, elapsed.count());
}

void JsonProgress::write_line(const std::string& line) {
  std::string_view rest = line;
  while (!rest.empty() && fd_ >= 0) {
    const ssize_t count = ::write(fd_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fd_ = -1;  // whoever wanted it is gone
    if (count > 0) rest.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace platter::cli
