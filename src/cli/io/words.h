// A command of `platter io`: one line, taken apart.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"

namespace platter::cli {

/// A line's words: what spaces separate. As in qemu-io there are no quotes, no escapes and no
/// comments: a name with a space in it can't be given, and "#" is a word.
std::vector<std::string> split_words(std::string_view line);

/// A command's words, taken apart: options in order, and what is left.
struct Words {
  struct Given {
    char letter;
    std::string value;
  };
  std::vector<Given> options;
  std::vector<std::string> operands;

  bool has(char letter) const noexcept;
};

/// Takes the words after a command's name apart as getopt(3) does: letters in clusters, options and
/// operands in any order, "--" ends options. A letter of `letters` that a colon follows has a value.
/// Errors: invalid_argument, in getopt's words, which begin with `name`.
Result<Words> parse_words(std::string_view name, std::string_view letters,
                          const std::vector<std::string>& words);

}  // namespace platter::cli
