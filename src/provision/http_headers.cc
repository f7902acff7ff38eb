#include "src/provision/http_headers.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "io/unique_fd.h"

namespace platter::provision {
namespace {

constexpr std::size_t kFileMax = 64 * 1024;

void wipe_text(std::string& text) noexcept { ::explicit_bzero(text.data(), text.size()); }

// RFC 9110, "token".
bool is_header_name(std::string_view name) noexcept {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_header(std::string_view line) noexcept {
  const std::size_t colon = line.find(':');
  if (colon == line.npos || !is_header_name(line.substr(0, colon))) return false;
  // Nothing that could end the header and begin another one.
  return std::ranges::all_of(line, [](char c) {
    return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f);
  });
}

Result<UniqueFd> open_private(const std::string& file) {
  UniqueFd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return fail_errno(errno, "open", file);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(errno, "stat", file);
  if (!S_ISREG(status.st_mode)) {
    return fail(ErrorKind::wrong_type, "'" + file + "' is not a regular file");
  }
  if ((status.st_mode & 077) != 0) {
    return fail(ErrorKind::permission, "'" + file +
                                           "' holds secrets, and others than its owner may use it: "
                                           "its mode must be 0600 or 0400");
  }
  return fd;
}

}  // namespace

HttpHeaders::~HttpHeaders() {
  for (std::string& line : lines_) wipe_text(line);
}

Result<HttpHeaders> HttpHeaders::parse(std::string_view text, std::string_view name) {
  HttpHeaders headers;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    if (!is_header(line)) {
      return fail(ErrorKind::invalid_argument, "line " + std::to_string(number) + " of '" +
                                                   std::string(name) +
                                                   "' is not a header, \"Name: value\"");
    }
    headers.lines_.emplace_back(line);
  }
  return headers;
}

Result<HttpHeaders> HttpHeaders::read(const std::string& file) {
  const Result<UniqueFd> fd = open_private(file);
  if (!fd) return fail(fd.error().clone());
  std::string text(kFileMax + 1, '\0');
  std::size_t size = 0;
  ssize_t count = 1;
  while (size < text.size() && count > 0) {
    count = ::read(fd->get(), text.data() + size, text.size() - size);
    if (count > 0) size += static_cast<std::size_t>(count);
    if (count < 0 && errno == EINTR) count = 1;
  }
  Result<HttpHeaders> headers;
  if (count < 0) {
    headers = fail_errno(errno, "read", file);
  } else if (size > kFileMax) {
    headers = fail(ErrorKind::too_large, "'" + file + "' is larger than 64 KiB");
  } else {
    headers = parse(std::string_view(text).substr(0, size), file);
  }
  wipe_text(text);
  return headers;
}

}  // namespace platter::provision
