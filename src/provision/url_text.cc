#include "src/provision/url_text.h"

#include <curl/curl.h>

#include <cctype>
#include <cstddef>
#include <memory>

namespace platter::provision {
namespace {

constexpr std::string_view kMark = "://";
constexpr std::string_view kDropped = "[...]";

struct FreeUrl {
  void operator()(CURLU* url) const noexcept { ::curl_url_cleanup(url); }
};
using ParsedUrl = std::unique_ptr<CURLU, FreeUrl>;

bool is_scheme_character(char c) noexcept {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '+' || c == '-' || c == '.';
}

// The part, or nothing if there is none.
std::string part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (::curl_url_get(url, part, &text, 0) != CURLUE_OK) return {};
  std::string copy(text);
  ::curl_free(text);
  return copy;
}

// Where the scheme that ends at `mark` begins.
std::size_t scheme_begin(std::string_view text, std::size_t mark) noexcept {
  std::size_t begin = mark;
  while (begin > 0 && is_scheme_character(text[begin - 1])) --begin;
  return begin;
}

}  // namespace

bool looks_like_url(std::string_view text) noexcept {
  const std::size_t mark = text.find(kMark);
  return mark != text.npos && mark > 0 && scheme_begin(text, mark) == 0;
}

std::string redacted_url(std::string_view url) {
  const std::size_t mark = url.find(kMark);
  if (mark == url.npos) return std::string(kDropped);
  const ParsedUrl parsed(::curl_url());
  const std::string whole(url);
  if (!parsed || ::curl_url_set(parsed.get(), CURLUPART_URL, whole.c_str(),
                                CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    const std::size_t begin = scheme_begin(url, mark);
    return std::string(url.substr(begin, mark - begin)).append(kMark).append(kDropped);
  }
  std::string text = part_of(parsed.get(), CURLUPART_SCHEME).append(kMark);
  text += part_of(parsed.get(), CURLUPART_HOST);
  if (const std::string port = part_of(parsed.get(), CURLUPART_PORT); !port.empty()) {
    text.append(":").append(port);
  }
  return text + part_of(parsed.get(), CURLUPART_PATH);
}

std::string redacted_text(std::string_view text) {
  std::string clean;
  for (;;) {
    const std::size_t mark = text.find(kMark);
    if (mark == text.npos) return clean.append(text);
    const std::size_t rest = mark + kMark.size();
    clean.append(text.substr(0, rest));
    text.remove_prefix(rest);
    // A password may hold blanks and quotes: whatever is before the last '@' goes.
    if (const std::size_t at = text.rfind('@'); at != text.npos) {
      clean.append(kDropped).append("@");
      text.remove_prefix(at + 1);
    }
    const std::size_t end = text.find_first_of("?# \t\r\n'\"");
    if (end == text.npos) return clean.append(text);
    clean.append(text.substr(0, end));
    text.remove_prefix(end);
    // So may a query: nobody knows where it ends.
    if (text.front() == '?' || text.front() == '#') return clean.append(kDropped);
  }
}

}  // namespace platter::provision
