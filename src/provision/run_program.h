// The one place that starts another program: those that make and grow filesystems, which exist nowhere
// else.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/cancel.h"
#include "io/task.h"

namespace platter::provision {

/// What names the target among a program's arguments: descriptor 3 of the child, whatever its name is.
inline constexpr std::string_view kProgramTarget = "/proc/self/fd/3";

struct ProgramCall {
  std::string path;                    ///< absolute; see find_program()
  std::vector<std::string> arguments;  ///< without the program's own name; never a secret
  int target_fd = -1;                  ///< becomes descriptor 3; stays the caller's. -1: none
  std::chrono::milliseconds time_max = std::chrono::minutes(10);
  std::vector<int> good_exit_codes{0};
};

/// The file of that name in /usr/sbin, /sbin, /usr/bin or /bin: never $PATH. It must belong to root, and
/// others must not be able to write it. Errors: unsupported (there is none).
Result<std::string> find_program(const std::string& name);

/// Starts it without a shell, by posix_spawn: an environment of PATH and LC_ALL alone, no input, no
/// descriptor but the target, default signals, a process group of its own. Returns its output, standard
/// error too, its first 16 KiB. When time is up, or after a cancellation, the group is killed.
///
/// Errors: io (another exit code, or a signal: the message has the output's last line), timed_out,
/// cancelled, out_of_memory. REQUIRES: a ring; nobody else reaps this process' children.
Task<std::string> run_program(ProgramCall call, const CancelToken* cancel = nullptr);

}  // namespace platter::provision
