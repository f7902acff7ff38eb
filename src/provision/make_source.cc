#include "src/provision/make_source.h"

#include <fcntl.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "src/provision/descriptor_source.h"
#include "src/provision/file_source.h"
#include "src/provision/url_text.h"

namespace platter::provision {
namespace {

constexpr std::string_view kDescriptor = "fd:";

std::optional<int> parse_descriptor(std::string_view text) {
  int fd = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fd);
  if (error != std::errc() || end != text.data() + text.size() || fd < 0) return std::nullopt;
  return fd;
}

// The caller's descriptor stays open: what is used is a copy, which no child inherits.
Result<std::unique_ptr<TemplateSource>> copy_of_descriptor(int fd, std::string name) {
  UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!own) {
    if (errno != EBADF) return fail_errno(errno, "duplicate", name);
    return fail(ErrorKind::invalid_argument, "'" + name + "' is not an open descriptor");
  }
  return descriptor_source(std::move(own), std::move(name));
}

}  // namespace

Result<std::unique_ptr<TemplateSource>> make_source(std::string text, HttpOptions http) {
  if (text.empty()) return fail(ErrorKind::invalid_argument, "the template has no name");
  if (text == "-") return copy_of_descriptor(0, "standard input");
  if (text.starts_with(kDescriptor)) {
    const auto fd = parse_descriptor(std::string_view(text).substr(kDescriptor.size()));
    if (!fd) {
      return fail(ErrorKind::invalid_argument, "'" + text + "' is not \"fd:\" and a number");
    }
    return copy_of_descriptor(*fd, std::move(text));
  }
  if (looks_like_url(text)) return http_source(std::move(text), std::move(http));
  return file_source(std::move(text));
}

}  // namespace platter::provision
