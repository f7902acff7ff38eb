// platter: the command-line tool. `platter VERB ...`, or a link to it named qemu-img, or qemu-io for
// `platter io ...`.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "src/cli/arguments.h"
#include "src/cli/context.h"
#include "src/cli/generate.h"
#include "src/cli/help.h"
#include "src/cli/nearest.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

// In qemu-img's place its words are kept: nothing is suggested.
std::string suggest_verb(const Context& context, std::string_view word) {
  if (context.as_qemu()) return {};
  std::vector<std::string_view> names;
  names.reserve(verbs().size());
  for (const Verb* verb : verbs()) names.push_back(verb->name);
  return did_you_mean(word, names);
}

// For a long option: as `word` has a value with it, and dashes, which `names` have not.
std::string suggest_option(const Context& context, std::string_view word,
                           std::span<const std::string_view> names) {
  if (context.as_qemu() || !word.starts_with("--")) return {};
  std::string meant = did_you_mean(word.substr(2, word.find('=') - 2), names);
  return meant.empty() ? meant : meant.insert(meant.find('\'') + 1, "--");
}

std::string suggest_option(const Context& context, std::string_view word, const Verb& verb) {
  std::vector<std::string_view> names;
  for (const Option& option : verb.options) {
    if (!option.name.empty()) names.push_back(option.name);
  }
  return suggest_option(context, word, names);
}

// What all verbs share is read first, as qemu-img does.
int run_with_images(Context& context, const Verb& verb, const Arguments& arguments) {
  Result<ImageAccess> images = parse_image_access(arguments);
  if (!images) return context.fail_with(images.error(), verb.object_exit);
  for (const std::string& warning : images->objects.warnings) context.warning(warning);
  context.set_images(*std::move(images));
  return verb.run(context, arguments);
}

int run_verb(Context& context, const Verb& verb, std::vector<std::string> words) {
  const bool asks_help = std::ranges::find(words, "--help") != words.end() ||
                         std::ranges::find(words, "-h") != words.end();
  if (verb.last_may_be_negative && words.size() < 2 && !asks_help) {
    context.usage_error("Not enough arguments");
    return verb.usage_exit;
  }
  std::string last;
  const bool hide_last = verb.last_may_be_negative && !asks_help;
  if (hide_last) {
    // A size like -1G would be taken for options.
    last = std::move(words.back());
    words.pop_back();
  }
  std::string unknown;
  Result<Arguments> arguments = Arguments::parse(verb.options, words, &unknown);
  if (!arguments) {
    context.usage_error(arguments.error().message() + suggest_option(context, unknown, verb));
    return verb.usage_exit;
  }
  if (arguments->has("help")) {
    context.print(verb_help(verb, context.program()));
    return kExitOk;
  }
  if (hide_last) arguments->append(std::move(last));
  if (arguments->has("json-progress")) {
    Result<JsonProgress> progress =
        JsonProgress::on(arguments->value("json-progress"), std::string(verb.name));
    if (!progress) return context.fail_with(progress.error(), verb.usage_exit);
    context.set_json_progress(*std::move(progress));
  }
  const int code = run_with_images(context, verb, *arguments);
  if (JsonProgress* progress = context.json_progress()) progress->end(code);
  return code;
}

int run_generate(Context& context, std::span<const std::string> words) {
  if (words.empty() || words.size() > 2) {
    context.usage_error("Expecting what to generate, and a verb or none");
    return kExitError;
  }
  const Result<std::string> text = generate(words[0], words.size() > 1 ? words[1] : "");
  if (!text) return context.fail_with(text.error());
  context.print(*text);
  return kExitOk;
}

int run_tool(std::vector<std::string> words) {
  const std::string path = words.front();
  Context context(path.substr(path.rfind('/') + 1));
  // Like qemu-img's, the name qemu-io is the program's and the verb's.
  if (context.program() == kLinkedIo)
    return run_verb(context, kIo, {words.begin() + 1, words.end()});
  const bool options_end = words.size() > 1 && words[1] == "--";
  if (options_end) words.erase(words.begin() + 1);
  if (words.size() < 2) {
    context.usage_error("Not enough arguments");
    return kExitError;
  }
  const std::string& first = words[1];
  if (first == "--help" || first == "-h") {
    context.print(tool_help(context));
    return kExitOk;
  }
  if (first == "--version" || first == "-V") {
    context.print(version_text(context));
    return kExitOk;
  }
  if (first == "--generate") return run_generate(context, std::span(words).subspan(2));
  if (first.starts_with('-')) {
    constexpr std::string_view kNames[] = {"help", "version", "generate"};
    context.usage_error(fmt::format("unrecognized option '{}'", first) +
                        suggest_option(context, first, kNames));
    return kExitError;
  }
  const Verb* verb = find_verb(first);
  if (verb == nullptr) {
    context.usage_error(fmt::format("Command not found: {}", first) + suggest_verb(context, first));
    return kExitError;
  }
  return run_verb(context, *verb, {words.begin() + 2, words.end()});
}

// Where standard output is closed an image must not be opened as its descriptor. What is put there
// fails as a closed one does.
void occupy_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // the lowest free one: fd
  }
}

}  // namespace
}  // namespace platter::cli

int main(int argc, char** argv) {
  platter::cli::occupy_standard_descriptors();
  const std::vector<std::string> words(argv, argv + argc);
  const int code = platter::cli::run_tool(words);
  // Output that could not be written is a failure, whatever else went well.
  const bool flushed = std::fflush(stdout) == 0;
  if (!flushed || std::ferror(stdout) != 0) {
    // What made an earlier write fail is no longer known.
    const std::string reason = flushed ? "" : ": " + platter::errno_text(errno);
    const std::string& path = words.front();
    fmt::print(stderr, "{}: Could not write to standard output{}\n",
               path.substr(path.rfind('/') + 1), reason);
    return code != 0 ? code : 1;
  }
  return code;
}
