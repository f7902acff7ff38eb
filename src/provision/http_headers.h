// Headers that a request carries: tokens and the like, from a file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"

namespace platter::provision {

/// Lines "Name: value" as they go to the server. Wiped at the end; neither copied nor printed.
class HttpHeaders {
 public:
  HttpHeaders() = default;
  HttpHeaders(HttpHeaders&& other) noexcept { lines_.swap(other.lines_); }
  HttpHeaders& operator=(HttpHeaders&& other) noexcept {
    lines_.swap(other.lines_);
    return *this;
  }
  ~HttpHeaders();

  const std::vector<std::string>& lines() const noexcept { return lines_; }

  /// One header a line; empty lines and those that begin with '#' are passed over. Blocks.
  /// Errors: permission (others than the owner may read the file), wrong_type (no regular file),
  /// too_large (over 64 KiB), invalid_argument (what is no header, by the line's number alone: its text
  /// may be secret), not_found, io.
  static Result<HttpHeaders> read(const std::string& file);
  /// The same of the file's text; `name` is for messages.
  static Result<HttpHeaders> parse(std::string_view text, std::string_view name);

 private:
  std::vector<std::string> lines_;
};

}  // namespace platter::provision
