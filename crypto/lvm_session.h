// LVM's commands, run within this process by liblvm2cmd. Internal to crypto/.
#pragma once

#include <string>
#include <vector>

#include "io/error.h"
#include "io/task.h"

namespace platter {

/// What a command said. LVM sends reports and warnings down the same way; here they are apart.
struct LvmReply {
  std::string report;                 ///< what it printed, lines with their ends
  std::vector<std::string> warnings;  ///< without "WARNING: "
};

/// Runs one command line, `words` separated by blanks. LVM's own splitting knows no escapes: whatever
/// came from outside was checked by crypto/device_name.h first (CHECK: no quote, blank or #).
///
/// The settings are those of the machine (/etc/lvm/lvm.conf), with what would start other programs
/// turned off. LVM changes its process: the umask (here of its own thread alone), the locale, and it
/// unlocks memory that it did not lock. Both are put right again when this returns; memory whose
/// mapping is named "memfd:" or "secretmem" never is unlocked, not even for a moment.
///
/// Errors carry LVM's own text, in one line; kinds: not_found, already_exists, no_space, in_use,
/// permission, invalid_argument, unsupported (also: no liblvm2cmd on this machine), io.
Task<LvmReply> run_lvm(std::vector<std::string> words);

}  // namespace platter
