// One request to a server, step by step.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/error.h"

namespace platter::provision {

/// What goes to the server. http and https alone, no redirect is followed.
struct HttpRequest {
  std::string url;  ///< whole, with its secrets
  /// Lines "Name: value". Belong to the caller, and stay as long as the transfer.
  std::span<const std::string> headers{};
  std::uint64_t from = 0;  ///< first byte wanted
  std::string if_range{};  ///< the version that `from` is of
  std::string ca_file{};   ///< certificates to trust in place of the system's; empty: those
  std::chrono::milliseconds connect_timeout{30'000};
  std::chrono::milliseconds stall_timeout{60'000};  ///< without a byte
};

/// What the server said first.
struct HttpResponse {
  long status = 0;
  std::optional<std::uint64_t> length;         ///< bytes that follow
  std::optional<std::uint64_t> range_begin;    ///< of a part: which byte comes first
  std::optional<std::uint64_t> complete_size;  ///< of a part: the whole's size
  std::string etag;                            ///< a strong one, or empty
  std::string location;                        ///< of a redirect: absolute, with its secrets
};

/// Pulls, so that a slow target slows the server down: at most some 2 MiB wait in memory. Any thread,
/// one at a time. Messages name the redacted URL.
///
/// Errors: timed_out, permission (a certificate that is not trusted), invalid_argument (the URL),
/// out_of_memory, io (all that another try may mend: no connection, no such host today, one that broke).
class HttpTransfer {
 public:
  static Result<std::unique_ptr<HttpTransfer>> make(HttpRequest request);
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  /// Waits for the response for up to a tenth of a second; nothing: it has not come yet.
  Result<std::optional<HttpResponse>> wait_for_response();
  /// What came within about a tenth of a second. `ended`: that was all.
  struct Piece {
    std::size_t count = 0;
    bool ended = false;
  };
  /// REQUIRES: the response is there.
  Result<Piece> read(std::span<std::byte> into);

 private:
  struct State;
  explicit HttpTransfer(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace platter::provision
