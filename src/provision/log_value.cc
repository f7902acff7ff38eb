#include "src/provision/log_value.h"

#include <algorithm>
#include <cctype>

#include "src/provision/url_text.h"

namespace platter::provision {
namespace {

constexpr std::size_t kNameMax = 255;

bool is_name_character(char c) noexcept {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
         std::string_view("._-+:").find(c) != std::string_view::npos;
}

}  // namespace

LogUrl::LogUrl(std::string_view url) : text(redacted_url(url)) {}

LogName::LogName(std::string_view name) {
  std::ranges::copy_if(name.substr(0, kNameMax), std::back_inserter(text), is_name_character);
}

LogValue::LogValue(const Error& error) : value_(redacted_text(error.message())) {}

}  // namespace platter::provision
