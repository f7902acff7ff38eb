#include "src/provision/http_transfer.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "src/provision/url_text.h"

namespace platter::provision {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kStep_ms = 100;

// Once for the process, before the first handle.
Result<void> prepare_curl() {
  static const CURLcode code = ::curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code == CURLE_OK) return {};
  return fail(ErrorKind::unsupported,
              std::string("libcurl can't be used: ") + ::curl_easy_strerror(code));
}

ErrorKind kind_of(CURLcode code) noexcept {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: return ErrorKind::timed_out;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR: return ErrorKind::permission;
    case CURLE_SSL_CACERT_BADFILE: return ErrorKind::not_found;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return ErrorKind::invalid_argument;
    case CURLE_OUT_OF_MEMORY: return ErrorKind::out_of_memory;
    default: return ErrorKind::io;
  }
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::string header_of(CURL* easy, const char* name) {
  curl_header* header = nullptr;
  if (::curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) return {};
  return header->value;
}

// RFC 9110, "Content-Range": "bytes 5-9/10", "bytes 5-9/*", "bytes */10".
void parse_range(std::string_view text, HttpResponse& response) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return;
  text.remove_prefix(kUnit.size());
  const std::size_t slash = text.find('/');
  if (slash == text.npos) return;
  response.complete_size = parse_number(text.substr(slash + 1));
  response.range_begin = parse_number(text.substr(0, text.find('-')));
}

}  // namespace

struct HttpTransfer::State {
  HttpRequest request;
  std::string name;  // the redacted URL
  CURLM* multi = nullptr;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  std::array<char, CURL_ERROR_SIZE> error{};
  std::span<std::byte> wanted;      // the reader's buffer, during a step
  std::size_t filled = 0;           // of it
  std::vector<std::byte> leftover;  // what did not fit
  std::size_t leftover_begin = 0;
  bool body_began = false;
  bool ended = false;
  std::optional<Error> failure;  // found after bytes that go out first
  Clock::duration waited{};      // since anything came; a slow reader's time does not count

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  Result<void> set_up();
  Result<void> set_options();
  Result<void> add_header(const char* line);
  Result<void> step();
  Result<void> look_for_end();
  std::unexpected<Error> error_of(CURLcode code) const;
  std::size_t take_leftover();
  HttpResponse response() const;

  static std::size_t on_body(char* data, std::size_t size, std::size_t count, void* self);
  static std::size_t on_header(char* data, std::size_t size, std::size_t count, void* self);
};

HttpTransfer::State::~State() {
  if (multi != nullptr && easy != nullptr) ::curl_multi_remove_handle(multi, easy);
  if (easy != nullptr) ::curl_easy_cleanup(easy);
  if (multi != nullptr) ::curl_multi_cleanup(multi);
  for (curl_slist* line = headers; line != nullptr; line = line->next) {
    ::explicit_bzero(line->data, std::strlen(line->data));
  }
  ::curl_slist_free_all(headers);
}

std::unexpected<Error> HttpTransfer::State::error_of(CURLcode code) const {
  const std::string detail = redacted_text(error.data());
  return fail(kind_of(code), "could not get '" + name +
                                 "': " + (detail.empty() ? ::curl_easy_strerror(code) : detail));
}

std::size_t HttpTransfer::State::on_body(char* data, std::size_t size, std::size_t count,
                                         void* self) {
  State& state = *static_cast<State*>(self);
  std::span<const std::byte> bytes = std::as_bytes(std::span(data, size * count));
  state.body_began = true;
  state.waited = {};
  const std::size_t fits = std::min(bytes.size(), state.wanted.size() - state.filled);
  std::ranges::copy(bytes.first(fits), state.wanted.begin() + state.filled);
  state.filled += fits;
  bytes = bytes.subspan(fits);
  state.leftover.insert(state.leftover.end(), bytes.begin(), bytes.end());
  return size * count;
}

std::size_t HttpTransfer::State::on_header(char* /*data*/, std::size_t size, std::size_t count,
                                           void* self) {
  static_cast<State*>(self)->waited = {};
  return size * count;
}

Result<void> HttpTransfer::State::add_header(const char* line) {
  curl_slist* longer = ::curl_slist_append(headers, line);
  if (longer == nullptr) return fail(ErrorKind::out_of_memory, "no memory for a request");
  headers = longer;
  return {};
}

Result<void> HttpTransfer::State::set_options() {
  for (const std::string& line : request.headers) {
    if (auto added = add_header(line.c_str()); !added) return added;
  }
  if (request.from != 0) {
    const std::string range = "Range: bytes=" + std::to_string(request.from) + "-";
    const std::string if_range = "If-Range: " + request.if_range;
    if (auto added = add_header(range.c_str()); !added) return added;
    if (auto added = add_header(if_range.c_str()); !added) return added;
  }
  CURLcode code = CURLE_OK;
  const auto set = [this, &code](CURLoption option, auto value) {
    if (code == CURLE_OK) code = ::curl_easy_setopt(easy, option, value);
  };
  set(CURLOPT_ERRORBUFFER, error.data());
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);  // the caller decides where to go, and what to tell there
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  set(CURLOPT_USERAGENT, "platter");
  set(CURLOPT_HTTPHEADER, headers);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(request.connect_timeout.count()));
  set(CURLOPT_SSL_VERIFYPEER, 1L);
  set(CURLOPT_SSL_VERIFYHOST, 2L);
  if (!request.ca_file.empty()) set(CURLOPT_CAINFO, request.ca_file.c_str());
  set(CURLOPT_WRITEFUNCTION, &State::on_body);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  set(CURLOPT_HEADERFUNCTION, &State::on_header);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  if (code != CURLE_OK) return error_of(code);
  return {};
}

Result<void> HttpTransfer::State::set_up() {
  if (auto ready = prepare_curl(); !ready) return ready;
  multi = ::curl_multi_init();
  easy = ::curl_easy_init();
  if (multi == nullptr || easy == nullptr) {
    return fail(ErrorKind::out_of_memory, "no memory for a request");
  }
  if (auto set = set_options(); !set) return set;
  if (::curl_multi_add_handle(multi, easy) != CURLM_OK) {
    return fail(ErrorKind::out_of_memory, "no memory for a request");
  }
  return {};
}

Result<void> HttpTransfer::State::look_for_end() {
  int waiting = 0;
  while (const CURLMsg* message = ::curl_multi_info_read(multi, &waiting)) {
    if (message->msg != CURLMSG_DONE) continue;
    ended = true;
    if (message->data.result != CURLE_OK) return error_of(message->data.result);
  }
  return {};
}

// Does what can be done now; if that is nothing, waits a little.
Result<void> HttpTransfer::State::step() {
  int running = 0;
  const std::size_t had = filled + leftover.size();
  CURLMcode code = ::curl_multi_perform(multi, &running);
  if (code == CURLM_OK && running != 0 && filled + leftover.size() == had) {
    const Clock::time_point begin = Clock::now();
    code = ::curl_multi_poll(multi, nullptr, 0, kStep_ms, nullptr);
    waited += Clock::now() - begin;
    if (code == CURLM_OK) code = ::curl_multi_perform(multi, &running);
  }
  if (code != CURLM_OK) {
    return fail(ErrorKind::io, "could not get '" + name + "': " + ::curl_multi_strerror(code));
  }
  if (auto looked = look_for_end(); !looked) return looked;
  if (!ended && waited > request.stall_timeout) {
    return fail(ErrorKind::timed_out, "could not get '" + name + "': nothing came for " +
                                          std::to_string(request.stall_timeout.count()) + " ms");
  }
  return {};
}

HttpResponse HttpTransfer::State::response() const {
  HttpResponse response;
  ::curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &response.status);
  curl_off_t length = -1;
  ::curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (length >= 0) response.length = static_cast<std::uint64_t>(length);
  parse_range(header_of(easy, "Content-Range"), response);
  if (std::string etag = header_of(easy, "ETag"); etag.starts_with('"')) {
    response.etag = std::move(etag);
  }
  char* location = nullptr;
  ::curl_easy_getinfo(easy, CURLINFO_REDIRECT_URL, &location);
  if (location != nullptr) response.location = location;
  return response;
}

std::size_t HttpTransfer::State::take_leftover() {
  const auto rest = std::span<const std::byte>(leftover).subspan(leftover_begin);
  const std::size_t count = std::min(rest.size(), wanted.size() - filled);
  std::ranges::copy(rest.first(count), wanted.begin() + filled);
  filled += count;
  leftover_begin += count;
  if (leftover_begin == leftover.size()) {
    leftover.clear();
    leftover_begin = 0;
  }
  return count;
}

HttpTransfer::HttpTransfer(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
HttpTransfer::~HttpTransfer() = default;

Result<std::unique_ptr<HttpTransfer>> HttpTransfer::make(HttpRequest request) {
  auto state = std::make_unique<State>();
  state->name = redacted_url(request.url);
  state->request = std::move(request);
  if (auto ready = state->set_up(); !ready) return fail(std::move(ready.error()));
  return std::unique_ptr<HttpTransfer>(new HttpTransfer(std::move(state)));
}

Result<std::optional<HttpResponse>> HttpTransfer::wait_for_response() {
  if (auto stepped = state_->step(); !stepped) {
    if (!state_->body_began) return fail(std::move(stepped.error()));
    state_->failure = std::move(stepped.error());  // read() tells it, after what came
  }
  if (!state_->body_began && !state_->ended) return std::nullopt;
  return state_->response();
}

Result<HttpTransfer::Piece> HttpTransfer::read(std::span<std::byte> into) {
  State& state = *state_;
  state.wanted = into;
  state.filled = 0;
  state.take_leftover();
  const Clock::time_point until = Clock::now() + std::chrono::milliseconds(kStep_ms);
  while (state.filled < into.size() && !state.ended && !state.failure && Clock::now() < until) {
    if (auto stepped = state.step(); !stepped) state.failure = std::move(stepped.error());
  }
  state.wanted = {};
  const std::size_t count = std::exchange(state.filled, 0);
  // What came before the failure is good.
  if (state.failure && count == 0) return fail(state.failure->clone());
  const bool all = state.ended && state.leftover.empty() && !state.failure;
  return Piece{.count = count, .ended = all};
}

}  // namespace platter::provision
