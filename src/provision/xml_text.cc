#include "src/provision/xml_text.h"

#include <cstddef>
#include <cstdint>

namespace platter::provision {
namespace {

// The length of the UTF-8 sequence at the start, or 0 (RFC 3629: no overlong ones, no surrogates).
std::size_t sequence_length(std::string_view text, std::uint32_t& code) noexcept {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned char first = byte(0);
  const std::size_t length = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
  if (length == 0 || length > text.size()) return 0;
  code = length == 1 ? first : first & (0x7fU >> length);
  for (std::size_t at = 1; at < length; ++at) {
    if ((byte(at) & 0xc0) != 0x80) return 0;
    code = (code << 6) | (byte(at) & 0x3fU);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  return overlong || code > 0x10ffff ? 0 : length;
}

// XML 1.0, "Char", without the C1 controls.
bool is_allowed(std::uint32_t code) noexcept {
  return code >= 0x20 && (code < 0x7f || code > 0x9f) && (code < 0xd800 || code > 0xdfff) &&
         code != 0xfffe && code != 0xffff;
}

}  // namespace

bool fits_in_xml(std::string_view text) noexcept {
  while (!text.empty()) {
    std::uint32_t code = 0;
    const std::size_t length = sequence_length(text, code);
    if (length == 0 || !is_allowed(code)) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&apos;"; break;
      default: out.push_back(c);
    }
  }
  return out;
}

}  // namespace platter::provision
