#include "src/cli/json_text.h"

#include <algorithm>
#include <cctype>
#include <span>

#include <nlohmann/json.hpp>

namespace platter::cli {
namespace {

// The same text as qemu-img's: ASCII alone, with capital letters in "\\u00E4".
std::string with_capital_escapes(std::string json) {
  for (std::size_t at = json.find('\\'); at != std::string::npos; at = json.find('\\', at + 2)) {
    if (json[at + 1] != 'u') continue;
    for (char& digit : std::span(json).subspan(at + 2, 4)) {
      digit = static_cast<char>(std::toupper(static_cast<unsigned char>(digit)));
    }
  }
  return json;
}

// qemu-img breaks the line within an empty array.
std::string with_open_arrays(const std::string& text) {
  std::string result;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::size_t at = line.ends_with("[]")    ? line.size() - 2
                           : line.ends_with("[],") ? line.size() - 3
                                                   : std::string::npos;
    if (at == std::string::npos) {
      result += line;
    } else {
      const std::string indent = line.substr(0, line.find_first_not_of(' '));
      result += line.substr(0, at) + "[\n" + indent + line.substr(at + 1);
    }
    result += '\n';
    begin = end + 1;
  }
  return result;
}

}  // namespace

std::string json_text(const nlohmann::ordered_json& document) {
  // Names may be any bytes; JSON may not.
  return with_capital_escapes(with_open_arrays(
      document.dump(4, ' ', true, nlohmann::ordered_json::error_handler_t::replace)));
}

}  // namespace platter::cli
