// What is typed: sizes, `-o` lists and command lines.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/qcow2/create.h"
#include "io/check.h"
#include "src/cli/arguments.h"
#include "src/cli/create_options.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"

namespace platter::cli {
namespace {

constexpr Option kOptions[] = {
    {'h', "help", "", ""},        {'f', "", "FMT", ""},        {'o', "", "OPTIONS", ""},
    {'U', "force-share", "", ""}, {0, "output", "FORMAT", ""}, {0, "salvage", "", ""},
};

void try_sizes(std::string_view text) {
  const Result<std::uint64_t> size = parse_size(text);
  if (size) PLATTER_CHECK(parse_size(std::to_string(*size)).value() == *size);
  (void)parse_size_argument(text, "image size", "platter");
  (void)parse_size_option(text, "size");
  if (size) PLATTER_CHECK(!human_size(*size).empty());
}

// An argument ends at its first null byte, as the kernel hands them over.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\0'), text.size());
    words.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

void try_words(const std::vector<std::string>& words) {
  const Result<Arguments> arguments = Arguments::parse(kOptions, words);
  if (arguments) PLATTER_CHECK(arguments->positional().size() <= words.size());
  const Result<std::vector<CreateOption>> options = parse_create_options(words);
  if (options) {
    CreateOptionValues raw = CreateOptionValues::of_format("raw");
    if (raw.set(*options)) (void)raw_preallocation_of(raw);
    CreateOptionValues values = CreateOptionValues::of_format("qcow2");
    if (values.set(*options)) {
      const Result<qcow2::CreateOptions> made = qcow2_options_of(values);
      if (made && qcow2::check(*made)) (void)qcow2::plan_image(*made);
    }
  }
  (void)asks_for_help(words);
}

}  // namespace
}  // namespace platter::cli

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  platter::cli::try_sizes(text);
  platter::cli::try_words(platter::cli::words_of(text));
  return 0;
}
