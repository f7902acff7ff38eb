// help, quit, sleep, and what tests of programs like this one use.
#include <signal.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "src/cli/io/numbers.h"
#include "src/cli/io/session.h"

namespace platter::cli {
namespace {

Task<Outcome> help(Session& session, const Command& /*command*/, Words words) {
  if (words.operands.empty()) {
    session.print(all_usage_lines() + "\nUse 'help commandname' for extended help.\n");
    co_return Outcome::done;
  }
  const Command* found = find_command(words.operands.front());
  if (found == nullptr) {
    co_return session.complain(fmt::format("command {} not found", words.operands.front()));
  }
  session.print(usage_line(*found));
  if (!found->help.empty()) session.print(fmt::format("{}\n", found->help));
  co_return Outcome::done;
}

Task<Outcome> quit(Session& session, const Command& /*command*/, Words /*words*/) {
  session.quit();
  co_return Outcome::done;
}

Task<Outcome> sleep(Session& session, const Command& /*command*/, Words words) {
  const std::string& text = words.operands.front();
  errno = 0;
  char* end = nullptr;
  const long time = std::strtol(text.c_str(), &end, 0);
  const bool whole = end != text.c_str() && *end == '\0';
  if (!whole || errno != 0 || time < 0) {
    co_return session.complain(fmt::format("{} is not a valid number", text));
  }
  co_await session.sleep(std::chrono::milliseconds(time));
  co_return Outcome::done;
}

// As a crash would end it, whatever is in flight.
Task<Outcome> abort(Session& /*session*/, const Command& /*command*/, Words /*words*/) {
  std::abort();
  co_return Outcome::failed;
}

Task<Outcome> sigraise(Session& session, const Command& /*command*/, Words words) {
  const std::string& text = words.operands.front();
  const Result<std::uint64_t> signal = parse_io_number(text);
  if (!signal) co_return session.complain(signal.error());
  if (*signal >= static_cast<std::uint64_t>(NSIG)) {
    co_return session.complain(
        fmt::format("signal argument '{}' is too large to be a valid signal", text));
  }
  std::fflush(stdout);
  ::raise(static_cast<int>(*signal));
  // Where the signal asks to stop, it is heard now.
  co_await look_for_cancel(&session.cancel());
  co_return Outcome::done;
}

// Breakpoints are in QEMU's blkdebug driver alone; qemu-io says the same without it.
Task<Outcome> set_breakpoint(Session& session, const Command& /*command*/, Words /*words*/) {
  co_return session.complain("Could not set breakpoint: Operation not supported");
}
Task<Outcome> remove_breakpoint(Session& session, const Command& /*command*/, Words words) {
  co_return session.complain(fmt::format("Could not remove breakpoint {}: Operation not supported",
                                         words.operands.front()));
}
Task<Outcome> resume(Session& session, const Command& /*command*/, Words /*words*/) {
  co_return session.complain("Could not resume request: Operation not supported");
}
// There is nothing to wait for: qemu-io waits for ever.
Task<Outcome> wait_breakpoint(Session& session, const Command& /*command*/, Words words) {
  co_return session.complain(fmt::format(
      "Could not wait for breakpoint {}: Operation not supported", words.operands.front()));
}

constexpr std::string_view kSigraiseHelp = R"(
 Example: 'sigraise 15' raises SIGTERM, 'sigraise 9' ends the program like a crash.
)";

}  // namespace

std::span<const Command> session_commands() {
  static constexpr std::array kCommands{
      Command{.name = "help",
              .alias = "?",
              .synopsis = "[command]",
              .summary = "help for one or all commands",
              .words_max = 1,
              .needs_image = false,
              .run = help},
      Command{.name = "quit",
              .alias = "q",
              .summary = "exit the program",
              .words_max = kAnyNumber,
              .needs_image = false,
              .run = quit},
      Command{.name = "sleep",
              .summary = "waits for the given value in milliseconds",
              .words_min = 1,
              .words_max = 1,
              .needs_image = false,
              .run = sleep},
      Command{.name = "abort",
              .summary = "simulate a program crash using abort(3)",
              .needs_image = false,
              .run = abort},
      Command{.name = "sigraise",
              .synopsis = "signal",
              .summary = "raises a signal",
              .help = kSigraiseHelp,
              .words_min = 1,
              .words_max = 1,
              .needs_image = false,
              .run = sigraise},
      Command{.name = "break",
              .synopsis = "event tag",
              .summary = "sets a breakpoint on event and tags the stopped request as tag",
              .words_min = 2,
              .words_max = 2,
              .run = set_breakpoint},
      Command{.name = "remove_break",
              .synopsis = "tag",
              .summary = "remove a breakpoint by tag",
              .words_min = 1,
              .words_max = 1,
              .run = remove_breakpoint},
      Command{.name = "resume",
              .synopsis = "tag",
              .summary = "resumes the request tagged as tag",
              .words_min = 1,
              .words_max = 1,
              .run = resume},
      Command{.name = "wait_break",
              .synopsis = "tag",
              .summary = "waits for the suspension of a request",
              .words_min = 1,
              .words_max = 1,
              .run = wait_breakpoint},
  };
  return kCommands;
}

}  // namespace platter::cli
