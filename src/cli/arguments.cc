#include "src/cli/arguments.h"

#include <getopt.h>

#include <algorithm>

#include <fmt/format.h>

namespace platter::cli {
namespace {

// Codes for getopt_long(): an option's letter, or this base and its place in the table.
constexpr int kLongOnly = 1000;

std::string key_of(const Option& option) {
  return option.name.empty() ? std::string(1, option.letter) : std::string(option.name);
}

struct GetoptTables {
  std::string letters = ":";  // a leading colon: missing arguments are told apart
  std::vector<std::string> names;
  std::vector<::option> longs;

  GetoptTables(std::span<const Option> options, const std::vector<std::string>& words) {
    names.reserve(options.size());
    for (std::size_t i = 0; i < options.size(); ++i) {
      const Option& option = options[i];
      const bool takes = !option.argument.empty();
      if (option.letter != 0) {
        letters += option.letter;
        if (takes) letters += ':';
      }
      if (option.name.empty() || (option.only_here && !spelled_out(option, words))) continue;
      names.emplace_back(option.name);
      const int code = option.letter != 0 ? option.letter : kLongOnly + static_cast<int>(i);
      longs.push_back(
          {names.back().c_str(), takes ? required_argument : no_argument, nullptr, code});
    }
    longs.push_back({nullptr, 0, nullptr, 0});
  }

  static bool spelled_out(const Option& option, const std::vector<std::string>& words) {
    return std::ranges::any_of(words, [&option](const std::string& word) {
      return word.substr(0, word.find('=')) == fmt::format("--{}", option.name);
    });
  }
};

const Option& find_option(std::span<const Option> options, int code) {
  if (code >= kLongOnly) return options[static_cast<std::size_t>(code - kLongOnly)];
  return *std::ranges::find_if(options, [code](const Option& o) { return o.letter == code; });
}

// After an error getopt stands behind the word that it is about, or, within a cluster of letters, on
// it.
std::string word_in_question(const std::vector<char*>& argv, int next, int letter) {
  const auto at = static_cast<std::size_t>(next);
  const std::string_view before = argv[at - 1];
  const bool is_letter = letter > 0 && letter < kLongOnly;
  const bool holds_it =
      before.starts_with('-') && before.find(static_cast<char>(letter)) != std::string_view::npos;
  if (is_letter && !holds_it && argv[at] != nullptr) return argv[at];
  return std::string(before);
}

}  // namespace

Result<Arguments> Arguments::parse(std::span<const Option> options,
                                   const std::vector<std::string>& words, std::string* unknown) {
  const GetoptTables tables(options, words);
  std::vector<std::string> copy = words;
  copy.insert(copy.begin(), "platter");
  std::vector<char*> argv;
  argv.reserve(copy.size() + 1);
  for (std::string& word : copy) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int argc = static_cast<int>(copy.size());

  Arguments arguments;
  optind = 0;  // glibc: start anew
  opterr = 0;
  for (;;) {
    const int code =
        ::getopt_long(argc, argv.data(), tables.letters.c_str(), tables.longs.data(), nullptr);
    if (code == -1) break;
    const std::string shown = word_in_question(argv, optind, optopt);
    if (code == '?') {
      if (unknown != nullptr) *unknown = shown;
      return fail(ErrorKind::invalid_argument, fmt::format("unrecognized option '{}'", shown));
    }
    if (code == ':') {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("missing argument for option '{}'", shown));
    }
    const Option& option = find_option(options, code);
    arguments.given_.push_back({key_of(option), optarg != nullptr ? optarg : ""});
  }
  arguments.positional_.assign(argv.begin() + optind, argv.begin() + argc);
  return arguments;
}

bool Arguments::has(std::string_view option) const noexcept {
  return std::ranges::any_of(given_, [option](const Given& g) { return g.option == option; });
}

std::string Arguments::value(std::string_view option, std::string_view otherwise) const {
  const std::vector<std::string> all = values(option);
  return all.empty() ? std::string(otherwise) : all.back();
}

std::vector<std::string> Arguments::values(std::string_view option) const {
  std::vector<std::string> found;
  for (const Given& given : given_) {
    if (given.option == option) found.push_back(given.value);
  }
  return found;
}

Result<std::vector<CreateOption>> parse_create_options(const std::vector<std::string>& lists) {
  std::vector<CreateOption> options;
  for (const std::string& list : lists) {
    // As qemu-img: an empty list, or one that begins or ends with a lone comma, is a slip.
    const bool ends_escaped = list.ends_with(",,");
    if (list.empty() || list.front() == ',' || (list.back() == ',' && !ends_escaped)) {
      return fail(ErrorKind::invalid_argument, "Invalid option list: " + list);
    }
    std::string item;
    for (std::size_t at = 0; at <= list.size(); ++at) {
      const bool end = at == list.size();
      // A name has no commas.
      if (!end && list[at] == ',' && at + 1 < list.size() && list[at + 1] == ',' &&
          item.contains('=')) {
        item += ',';
        ++at;
        continue;
      }
      if (!end && list[at] != ',') {
        item += list[at];
        continue;
      }
      const std::size_t equals = item.find('=');
      if (equals == std::string::npos) {
        options.push_back({item, "on"});
      } else {
        options.push_back({item.substr(0, equals), item.substr(equals + 1)});
      }
      item.clear();
    }
  }
  return options;
}

bool asks_for_help(const std::vector<std::string>& lists) {
  const Result<std::vector<CreateOption>> options = parse_create_options(lists);
  return options && std::ranges::any_of(*options, [](const CreateOption& option) {
           return option.value == "on" && (option.name == "help" || option.name == "?");
         });
}

}  // namespace platter::cli
