// JSON as QEMU reads it on its command line: RFC 8259, and strings in single quotes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "formats/block_options.h"
#include "io/error.h"

namespace platter {

struct JsonMember;

/// An array's members are named by their numbers.
struct JsonValue {
  OptionValue scalar;  ///< a structure: what has, or could have, members
  bool is_object = false;
  std::vector<JsonMember> members;
};

struct JsonMember {
  std::string name;
  JsonValue value;
};

/// A text as a JSON string, in quotes: ASCII alone. What is no UTF-8 becomes U+FFFD.
std::string json_quoted(std::string_view text);

/// One value and nothing else, nested at most 64 deep. Strings are UTF-8.
/// Errors: invalid_argument, in QEMU's words.
Result<JsonValue> read_json(std::string_view text);

}  // namespace platter
