#include "src/cli/help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "formats/library_versions.h"
#include "io/ring.h"
#include "src/cli/option_values.h"

namespace platter::cli {
namespace {

// The qemu-img that tests/integration/conformance_test.py compares with. Three numbers: some
// programs look for as many.
constexpr std::string_view kQemuVersion = "7.2.0";

// Whether the kernel lets this process use io_uring is found out by trying.
std::string_view engine_text() {
  const Result<std::unique_ptr<Ring>> ring = Ring::create({});
  if (!ring) return "none: no ring can be made";
  return (*ring)->engine() == RingEngineKind::io_uring ? "io_uring"
                                                       : "threads (io_uring is not to be had here)";
}

}  // namespace

std::string option_words(const Option& option) {
  std::string words = option.letter != 0 ? fmt::format("-{}", option.letter) : "";
  if (!option.name.empty()) {
    words += fmt::format("{}--{}", words.empty() ? "" : ", ", option.name);
  }
  if (option.argument.empty()) return words;
  return words + (option.name.empty() ? " " : "=") + std::string(option.argument);
}

std::string version_line(const Context& context) {
  if (!context.as_qemu()) return fmt::format("platter version {}\n", PLATTER_VERSION);
  return fmt::format("qemu-img version {} (platter {})\n", kQemuVersion, PLATTER_VERSION);
}

std::string version_text(const Context& context) {
  std::string libraries;
  for (const LibraryVersion& library : library_versions()) {
    libraries +=
        fmt::format("{}{} {}", libraries.empty() ? "" : ", ", library.name, library.version);
  }
  return version_line(context) +
         fmt::format(
             "Virtual-disk images, natively. Licence: LGPL-2.1-or-later\n"
             "Formats: {}\n"
             "Input and output: {}; direct I/O, reflink and copy_file_range where files can\n"
             "Libraries: {}, fmt {}.{}.{}\n",
             fmt::join(format_names(), ", "), engine_text(), libraries, FMT_VERSION / 10000,
             FMT_VERSION / 100 % 100, FMT_VERSION % 100);
}

std::string tool_help(const Context& context) {
  const std::string& program = context.program();
  std::string text = version_line(context);
  text += fmt::format("Virtual-disk images, natively.\n\nUsage: {} VERB [OPTIONS] ...\n\nVerbs:\n",
                      program);
  for (const Verb* verb : verbs()) text += fmt::format("  {:<10} {}\n", verb->name, verb->help);
  text += fmt::format(
      "\n'{} VERB --help' lists a verb's options, 'man platter-VERB' says more. Sizes are bytes,\n"
      "or have a suffix k, M, G, T, P or E (powers of 1024). '{} --version' tells what this\n"
      "build can do.\n\nSupported formats: {}\n",
      program, program, fmt::join(format_names(), ", "));
  return text;
}

std::string verb_help(const Verb& verb, std::string_view program) {
  // A link named qemu-io is the verb as well.
  const std::string command =
      program == kLinkedIo ? std::string(program) : fmt::format("{} {}", program, verb.name);
  std::string text = fmt::format("Usage: {} [OPTIONS]{}{}\n{}.\n\nOptions:\n", command,
                                 verb.operands.empty() ? "" : " ", verb.operands, verb.help);
  for (const Option& option : verb.options) {
    // Long names stand below each other.
    const std::string_view indent = option.letter != 0 ? "" : "    ";
    text += fmt::format("  {:<32} {}\n", fmt::format("{}{}", indent, option_words(option)),
                        option.help);
  }
  if (verb.exit_codes.data() != kUsualExits) {
    text += "\nExit codes:\n";
    for (const ExitCode& exit : verb.exit_codes) {
      text += fmt::format("  {:<4} {}\n", exit.code, exit.meaning);
    }
  }
  if (!verb.examples.empty()) text += "\nExamples:\n";
  for (const Example& example : verb.examples) {
    text += fmt::format("  {} {}\n      {}\n", program, example.command, example.purpose);
  }
  return text;
}

}  // namespace platter::cli
