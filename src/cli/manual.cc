#include "src/cli/manual.h"

#include <algorithm>
#include <cctype>
#include <span>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "src/cli/create_options.h"
#include "src/cli/option_values.h"

namespace platter::cli {
namespace {

// When the texts of the manual were last changed; not of the build, so that builds are the same.
constexpr std::string_view kDate = "2026-11-24";

std::string title(std::string_view page) {
  std::string upper(page);
  for (char& letter : upper) letter = static_cast<char>(std::toupper(letter));
  return fmt::format(".TH {} 1 \"{}\" \"platter {}\" \"platter\"\n", roff_text(upper), kDate,
                     PLATTER_VERSION);
}

// Begins with a small letter, as the line in NAME does by custom.
std::string name_section(std::string_view page, std::string_view help) {
  std::string what(help);
  if (!what.empty()) what[0] = static_cast<char>(std::tolower(what[0]));
  return fmt::format(".SH NAME\n{} \\- {}\n", roff_text(page), roff_text(what));
}

std::string bold(std::string_view text) { return "\\fB" + roff_text(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + roff_text(text) + "\\fR"; }

std::string tagged(std::string_view tag, std::string_view text) {
  return fmt::format(".TP\n{}\n{}\n", tag, roff_text(text));
}

// Paragraphs with an empty line between two.
std::string paragraphs(std::string_view text) {
  std::string pages;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find("\n\n"), text.size());
    pages += (pages.empty() ? "" : ".PP\n") + roff_text(text.substr(0, end)) + "\n";
    text.remove_prefix(std::min(end + 2, text.size()));
  }
  return pages;
}

std::string option_tag(const Option& option) {
  std::string tag = option.letter != 0 ? bold(fmt::format("-{}", option.letter)) : "";
  if (!option.name.empty()) {
    tag += (tag.empty() ? "" : ", ") + bold(fmt::format("--{}", option.name));
  }
  if (option.argument.empty()) return tag;
  return tag + (option.name.empty() ? " " : "=") + italic(option.argument);
}

// What -o takes, of verbs that have it.
std::string create_options_section(const Verb& verb) {
  for (const Option& option : verb.options) {
    if (option_values(option.argument).kind != ValueKind::create_options) continue;
    const CreateOptionValues known = verb.name == "amend"
                                         ? CreateOptionValues::of_amendment("qcow2")
                                         : CreateOptionValues::of_format("qcow2");
    std::string section = fmt::format(".SH OPTIONS OF QCOW2 IMAGES\nFor {}.\n", option_tag(option));
    for (const CreateOptionType& type : known.types()) {
      section += tagged(bold(type.name), type.help);
    }
    return section;
  }
  return "";
}

std::string exits_section(std::span<const ExitCode> exits) {
  std::string section = ".SH EXIT STATUS\n";
  for (const ExitCode& exit : exits) {
    section += tagged(bold(std::to_string(exit.code)), exit.meaning);
  }
  return section + tagged(bold("130") + ", " + bold("143"),
                          "ended by SIGINT, SIGTERM; what was begun is undone");
}

std::string examples_section(const Verb& verb) {
  if (verb.examples.empty()) return "";
  std::string section = ".SH EXAMPLES\n";
  for (const Example& example : verb.examples) {
    section += tagged(bold(fmt::format("platter {}", example.command)), example.purpose);
  }
  return section;
}

std::string see_also(std::string_view but) {
  std::string pages = but.empty() ? "" : ".BR platter (1)";
  for (const Verb* verb : verbs()) {
    if (verb->name == but) continue;
    pages += fmt::format("{}.BR {} (1)", pages.empty() ? "" : ",\n",
                         roff_text(fmt::format("platter-{}", verb->name)));
  }
  return ".SH SEE ALSO\n" + pages + "\n";
}

constexpr std::string_view kAbout =
    "platter reads, makes, copies, changes and checks images of virtual disks. It takes the verbs, "
    "options and texts of qemu-img and works without QEMU.\n\n"
    "Linked under the name qemu-img it stands in that program's place: messages carry that name, "
    "and nothing is added to their wording.\n\n"
    "Options and operands come in any order. Long options can be shortened as long as they are "
    "unambiguous; -- ends the options. Sizes and offsets are bytes, or have a suffix k, M, G, T, P "
    "or E (powers of 1024).\n\n"
    "A target that did not exist gets its name when it is complete and on the disk. SIGUSR1 makes "
    "verbs that copy print their progress.";

}  // namespace

std::string roff_text(std::string_view text) {
  std::string roff;
  bool line_begins = true;
  for (const char letter : text) {
    // A control character at a line's beginning would make it a request.
    if (line_begins && (letter == '.' || letter == '\'')) roff += "\\&";
    line_begins = letter == '\n';
    switch (letter) {
      case '\\': roff += "\\e"; break;
      case '-': roff += "\\-"; break;
      case '\'': roff += "\\(aq"; break;
      case '`': roff += "\\(ga"; break;
      case '^': roff += "\\(ha"; break;
      case '~': roff += "\\(ti"; break;
      default: roff += letter;
    }
  }
  return roff;
}

std::string tool_manual() {
  std::string page = title("platter") + name_section("platter", "virtual-disk images, natively");
  page += ".SH SYNOPSIS\n.B platter\n.I VERB\n.RI [ OPTIONS ]\n.RI [ OPERANDS ]\n";
  page += ".SH DESCRIPTION\n" + paragraphs(kAbout) + ".SH VERBS\n";
  for (const Verb* verb : verbs()) {
    page += tagged(fmt::format("{} {}", bold(verb->name), italic(verb->operands)), verb->help);
  }
  page += ".SH OPTIONS\n";
  page += tagged(bold("-h") + ", " + bold("--help"), "list the verbs; after a verb: its options");
  page += tagged(bold("-V") + ", " + bold("--version"),
                 "the version, in the first line; formats, libraries and what this machine allows");
  page +=
      tagged(bold("--generate") + " " + italic("KIND") + " [" + italic("VERB") + "]",
             "print a manual page (man), shell completion (bash, zsh, fish) or the verbs (verbs)");
  page += fmt::format(".SH FORMATS\n{}\n",
                      roff_text(fmt::format("{}", fmt::join(format_names(), ", "))));
  return page + exits_section(kUsualExits) + see_also("");
}

std::string verb_manual(const Verb& verb) {
  const std::string name = fmt::format("platter-{}", verb.name);
  std::string page = title(name) + name_section(name, verb.help);
  page += fmt::format(".SH SYNOPSIS\n{} [{}] {}\n", bold(fmt::format("platter {}", verb.name)),
                      italic("OPTIONS"), italic(verb.operands));
  page += ".SH DESCRIPTION\n" + (verb.description.empty()
                                     ? roff_text(fmt::format("{}.", verb.help)) + "\n"
                                     : paragraphs(verb.description));
  page += ".SH OPTIONS\n";
  for (const Option& option : verb.options) page += tagged(option_tag(option), option.help);
  page += create_options_section(verb) + exits_section(verb.exit_codes) + examples_section(verb);
  return page + see_also(verb.name);
}

}  // namespace platter::cli
