// Other programs, run to their end.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace platter::test {

struct Command {
  std::vector<std::string> argv;              ///< found in $PATH; no shell
  std::string input{};                        ///< its standard input
  std::vector<std::string> env{};             ///< "NAME=value", on top of this process' environment
  std::string folder{};                       ///< where it runs; empty: here
  std::chrono::milliseconds timeout{60'000};  ///< then it is killed, with its children
};

struct CommandResult {
  int exit_code = -1;  ///< 128 + the signal for one that was killed, as shells have it
  bool timed_out = false;
  std::string out;
  std::string err;

  bool ok() const noexcept { return exit_code == 0; }
};

/// Waits until the command has ended. A program that can't be started has exit code 127.
CommandResult run_command(const Command& command);

/// `run_command("qemu-img", "info", path)`
template <class... Argument>
CommandResult run_command(const std::string& program, const Argument&... arguments) {
  return run_command(Command{.argv = {program, std::string(arguments)...}});
}

/// True if `program` is found in $PATH.
bool have_program(const std::string& program);

}  // namespace platter::test
