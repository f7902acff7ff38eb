#include "src/provision/http_source.h"

#include <curl/curl.h>
#include <string.h>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "io/ring.h"
#include "src/provision/fetch_sink.h"
#include "src/provision/http_transfer.h"
#include "src/provision/url_text.h"

namespace platter::provision {
namespace {

constexpr std::chrono::milliseconds kPauseMin{200};
constexpr std::chrono::milliseconds kPauseMax{5000};

// What tells two servers from each other, or nothing for what is no URL of http or https.
struct Origin {
  std::string scheme;
  std::string host;
  std::string port;
  bool operator==(const Origin&) const = default;
};

std::string url_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (::curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) return {};
  std::string copy(text);
  ::curl_free(text);
  return copy;
}

std::optional<Origin> origin_of(const std::string& url) {
  CURLU* parsed = ::curl_url();
  std::optional<Origin> origin;
  if (parsed != nullptr && ::curl_url_set(parsed, CURLUPART_URL, url.c_str(), 0) == CURLUE_OK) {
    origin = {.scheme = url_part(parsed, CURLUPART_SCHEME),
              .host = url_part(parsed, CURLUPART_HOST),
              .port = url_part(parsed, CURLUPART_PORT)};
  }
  ::curl_url_cleanup(parsed);
  if (origin && origin->scheme != "http" && origin->scheme != "https") origin.reset();
  return origin;
}

bool is_redirect(long status) noexcept {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}
bool is_busy(long status) noexcept { return status == 408 || status == 429 || status >= 500; }

ErrorKind kind_of_status(long status) noexcept {
  switch (status) {
    case 401:
    case 403:
    case 407: return ErrorKind::permission;
    case 404:
    case 410: return ErrorKind::not_found;
    default: return ErrorKind::io;
  }
}

bool may_be_mended(const Error& error) noexcept {
  return error.kind() == ErrorKind::io || error.kind() == ErrorKind::timed_out;
}

class HttpSource final : public TemplateSource {
 public:
  HttpSource(std::string url, HttpOptions options)
      : url_(std::move(url)), name_(redacted_url(url_)), options_(std::move(options)) {}
  ~HttpSource() override { ::explicit_bzero(url_.data(), url_.size()); }

  const std::string& name() const noexcept override { return name_; }
  bool resumable() const noexcept override { return true; }
  Task<FetchResult> fetch(File& target, FetchOptions options) override;

  const std::string& url() const noexcept { return url_; }
  const HttpOptions& options() const noexcept { return options_; }

 private:
  std::string url_;
  std::string name_;
  HttpOptions options_;
};

// One fetch: its tries, their redirects.
class HttpFetch {
 public:
  HttpFetch(const HttpSource& source, File& target, const FetchOptions& options)
      : source_(source),
        target_(target),
        options_(options),
        sink_(target, options, source.name()) {}

  Task<FetchResult> run();

 private:
  Task<void> fetch_all();
  void forget();
  // Ends when all has come.
  Task<void> try_once();
  Task<HttpResponse> connect();
  Task<HttpResponse> request(const std::string& url);
  Result<std::string> next_url(const std::string& from, const HttpResponse& response);
  Task<bool> take_response(const HttpResponse& response);
  Task<void> start_version(const HttpResponse& response);
  Task<std::size_t> read(std::span<std::byte> into);
  Task<void> pause(unsigned failures);
  std::unexpected<Error> unexpected_status(long status) const;

  const HttpSource& source_;
  File& target_;
  const FetchOptions& options_;
  FetchSink sink_;
  std::unique_ptr<HttpTransfer> transfer_;
  std::string validator_;
  std::uint64_t resumed_ = 0;      // bytes that were there before the fetch, and were kept
  std::uint64_t resume_from_ = 0;  // where the next try goes on
  bool begun_ = false;             // the sink is at resume_from_
  bool transient_ = false;         // the latest error comes from the line
};

Task<FetchResult> HttpFetch::run() {
  const ResumePoint& resume = options_.resume;
  if (!resume.validator.empty() && resume.bytes <= co_await target_.size()) {
    validator_ = resume.validator;
    resume_from_ = resume.bytes;
  }
  co_await fetch_all();
  Result<FetchResult> finished = co_await sink_.finish().result();
  if (!finished && finished.error().kind() == ErrorKind::wrong_digest && resumed_ != 0) {
    // What was there may have been damaged since; what comes from the start is judged by itself.
    forget();
    co_await fetch_all();
    finished = co_await sink_.finish().result();
  }
  FetchResult result = co_await std::move(finished);
  result.resumed = resumed_;
  co_return result;
}

Task<void> HttpFetch::fetch_all() {
  for (unsigned failures = 0;;) {
    const std::uint64_t before = sink_.offset();
    transient_ = false;
    const Result<void> tried = co_await try_once().result();
    transfer_.reset();
    if (tried) co_return;
    if (!transient_ || !may_be_mended(tried.error())) co_await fail(tried.error().clone());
    failures = sink_.offset() > before ? 1 : failures + 1;
    if (failures >= options_.limits.tries) co_await fail(tried.error().clone());
    if (begun_) resume_from_ = validator_.empty() ? 0 : sink_.offset();
    co_await pause(failures);
  }
}

void HttpFetch::forget() {
  validator_.clear();
  resume_from_ = 0;
  resumed_ = 0;
  begun_ = false;
}

Task<void> HttpFetch::pause(unsigned failures) {
  const auto time = std::min(kPauseMax, kPauseMin * (1U << std::min(failures - 1, 8U)));
  for (auto left = time; left.count() > 0; left -= std::chrono::milliseconds(100)) {
    co_await look_for_cancel(options_.cancel);
    co_await Ring::current().sleep(std::min(left, std::chrono::milliseconds(100)));
  }
}

Task<void> HttpFetch::try_once() {
  transient_ = true;
  const HttpResponse response = co_await connect();
  transient_ = false;
  if (!co_await take_response(response)) co_return;
  const FetchSink::Read reader = [this](std::span<std::byte> into) { return read(into); };
  co_await sink_.take(reader);
}

// What the server says after its redirects.
Task<HttpResponse> HttpFetch::connect() {
  std::string url = source_.url();
  for (unsigned redirects = 0;; ++redirects) {
    const HttpResponse response = co_await request(url);
    if (!is_redirect(response.status)) co_return response;
    transient_ = false;
    if (redirects >= options_.limits.redirects_max) {
      co_return fail(ErrorKind::refused_by_policy,
                     "could not get '" + source_.name() + "': it redirects more than " +
                         std::to_string(options_.limits.redirects_max) + " times");
    }
    url = co_await next_url(url, response);
    transient_ = true;
  }
}

Result<std::string> HttpFetch::next_url(const std::string& from, const HttpResponse& response) {
  const std::optional<Origin> before = origin_of(from);
  const std::optional<Origin> next = origin_of(response.location);
  if (!next) {
    return fail(ErrorKind::refused_by_policy,
                "could not get '" + source_.name() + "': it redirects to '" +
                    redacted_url(response.location) + "', which is neither http nor https");
  }
  if (before && before->scheme == "https" && next->scheme != "https") {
    return fail(ErrorKind::refused_by_policy,
                "could not get '" + source_.name() + "': it redirects to '" +
                    redacted_url(response.location) + "', where nothing is encrypted");
  }
  return response.location;
}

Task<HttpResponse> HttpFetch::request(const std::string& url) {
  HttpRequest request{.url = url,
                      .ca_file = source_.options().ca_file,
                      .connect_timeout = options_.limits.connect_timeout,
                      .stall_timeout = options_.limits.stall_timeout};
  // Tokens are for the server that the caller named.
  if (origin_of(url) == origin_of(source_.url())) {
    request.headers = source_.options().headers.lines();
  }
  if (resume_from_ != 0) {
    request.from = resume_from_;
    request.if_range = validator_;
  }
  transfer_ = co_await HttpTransfer::make(std::move(request));
  for (;;) {
    co_await look_for_cancel(options_.cancel);
    HttpTransfer& transfer = *transfer_;
    Result<std::optional<HttpResponse>> response =
        co_await Ring::current().offload([&transfer] { return transfer.wait_for_response(); });
    if (!response) co_return fail(std::move(response.error()));
    if (*response) co_return **std::move(response);
  }
}

std::unexpected<Error> HttpFetch::unexpected_status(long status) const {
  return fail(kind_of_status(status), "could not get '" + source_.name() +
                                          "': the server answered with status " +
                                          std::to_string(status));
}

// False: nothing is to be read any more.
Task<bool> HttpFetch::take_response(const HttpResponse& response) {
  if (response.status == 416 && resume_from_ != 0 && response.complete_size == resume_from_) {
    co_await sink_.begin(resume_from_);  // all of it was there
    resumed_ = begun_ ? resumed_ : resume_from_;
    begun_ = true;
    co_return false;
  }
  if (response.status == 206 && resume_from_ != 0 && response.range_begin == resume_from_) {
    if (response.complete_size) co_await sink_.check_size(*response.complete_size);
    co_await sink_.begin(resume_from_);
    if (!begun_) resumed_ = resume_from_;
    begun_ = true;
    co_return true;
  }
  if (response.status == 200) {
    co_await start_version(response);
    co_return true;
  }
  transient_ = is_busy(response.status);
  if (resume_from_ != 0 && (response.status == 206 || response.status == 416)) {
    transient_ = true;  // once more, from the start
    forget();
  }
  co_return unexpected_status(response.status);
}

Task<void> HttpFetch::start_version(const HttpResponse& response) {
  if (response.length) {
    co_await sink_.check_size(*response.length);
    if (options_.progress != nullptr) options_.progress->set_total(*response.length);
  }
  validator_ = response.etag;
  if (options_.on_validator) co_await options_.on_validator(validator_);
  resume_from_ = 0;
  resumed_ = 0;
  co_await sink_.begin(0);
  begun_ = true;
}

Task<std::size_t> HttpFetch::read(std::span<std::byte> into) {
  for (;;) {
    co_await look_for_cancel(options_.cancel);
    HttpTransfer& transfer = *transfer_;
    const Result<HttpTransfer::Piece> piece =
        co_await Ring::current().offload([&transfer, into] { return transfer.read(into); });
    transient_ = !piece;
    if (!piece) co_return fail(piece.error().clone());
    if (piece->count != 0 || piece->ended) co_return piece->count;
  }
}

Task<FetchResult> HttpSource::fetch(File& target, FetchOptions options) {
  HttpFetch fetching(*this, target, options);
  co_return co_await fetching.run();
}

}  // namespace

Result<std::unique_ptr<TemplateSource>> http_source(std::string url, HttpOptions options) {
  if (!origin_of(url)) {
    return fail(ErrorKind::invalid_argument,
                "'" + redacted_url(url) + "' is not a URL of http or https");
  }
  return std::make_unique<HttpSource>(std::move(url), std::move(options));
}

}  // namespace platter::provision
