// platter: the command-line tool. `platter VERB ...`, or a link named qemu-img to it.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "src/cli/arguments.h"
#include "src/cli/context.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

std::string version_text() {
  return fmt::format("platter version {}\n"
                     "Virtual-disk images, natively. Licence: LGPL-2.1-or-later\n",
                     PLATTER_VERSION);
}

std::string help_text(std::string_view program) {
  std::string text = version_text();
  text += fmt::format("\nUsage: {} VERB [OPTIONS] ...\n\nVerbs:\n", program);
  for (const Verb* verb : verbs()) text += fmt::format("  {:<10} {}\n", verb->name, verb->help);
  text += fmt::format(
      "\n'{} VERB --help' lists a verb's options. Sizes are bytes, or have a suffix\n"
      "k, M, G, T, P or E (powers of 1024).\n\nSupported formats: raw\n",
      program);
  return text;
}

const Verb* find_verb(std::string_view name) {
  const auto all = verbs();
  const auto found = std::ranges::find_if(all, [name](const Verb* v) { return v->name == name; });
  return found == all.end() ? nullptr : *found;
}

int run_verb(Context& context, const Verb& verb, std::vector<std::string> words) {
  if (verb.last_may_be_negative && words.empty()) {
    context.usage_error("Not enough arguments");
    return verb.usage_exit;
  }
  std::string last;
  const bool asks_help =
      std::ranges::find(words, "--help") != words.end() || std::ranges::find(words, "-h") != words.end();
  const bool hide_last = verb.last_may_be_negative && !asks_help;
  if (hide_last) {
    // A size like -1G would be taken for options.
    last = std::move(words.back());
    words.back() = "0";
  }
  Result<Arguments> arguments = Arguments::parse(verb.options, words);
  if (!arguments) {
    context.usage_error(arguments.error().message());
    return verb.usage_exit;
  }
  if (arguments->has("help")) {
    context.print(verb_help(verb, context.program()));
    return kExitOk;
  }
  if (hide_last) arguments->replace_last(std::move(last));
  return verb.run(context, *arguments);
}

int run_tool(const std::vector<std::string>& words) {
  const std::string& path = words.front();
  Context context(path.substr(path.rfind('/') + 1));
  if (words.size() < 2) {
    context.usage_error("Not enough arguments");
    return kExitError;
  }
  const std::string& first = words[1];
  if (first == "--help" || first == "-h") {
    context.print(help_text(context.program()));
    return kExitOk;
  }
  if (first == "--version" || first == "-V") {
    context.print(version_text());
    return kExitOk;
  }
  if (first.starts_with('-')) {
    context.usage_error(fmt::format("unrecognized option '{}'", first));
    return kExitError;
  }
  const Verb* verb = find_verb(first);
  if (verb == nullptr) {
    context.usage_error(fmt::format("Command not found: {}", first));
    return kExitError;
  }
  return run_verb(context, *verb, {words.begin() + 2, words.end()});
}

}  // namespace
}  // namespace platter::cli

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  const int code = platter::cli::run_tool(words);
  // Output that could not be written is a failure, whatever else went well.
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::perror(argv[0]);
    return code != 0 ? code : 1;
  }
  return code;
}
