// Reads and writes of `platter io`: the same for commands that wait for them and those that don't.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"
#include "io/task.h"
#include "src/cli/io/command.h"
#include "src/cli/io/session.h"

namespace platter::cli {

/// What every request has.
struct IoRequest {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  std::string_view name;          ///< in "NAME failed"
  bool quiet = false;             ///< no report, no dump
  bool machine_readable = false;  ///< the report
  /// The command does not wait: nothing is said before the next one had its turn.
  bool later = false;

  /// What -q, -C and the like say.
  void take_flags(const Words& words) {
    quiet = words.has('q');
    machine_readable = words.has('C');
  }
};

struct ReadRequest : IoRequest {
  std::optional<std::byte> pattern;  ///< that a part of the data has to be
  std::uint64_t pattern_offset = 0;  ///< of that part, from `offset` on
  std::uint64_t pattern_length = 0;
  bool dump = false;
};

enum class WriteKind : std::uint8_t { data, zeroes, compressed };

struct WriteRequest : IoRequest {
  WriteKind kind = WriteKind::data;
  std::byte pattern{0xcd};
  std::optional<std::string> source;  ///< a file that is written instead, over and over
  bool durable = false;               ///< once it is reported
  bool may_unmap = false;             ///< zeroes may become a hole
};

/// REQUIRES: an image is open, and stays so.
Task<Outcome> perform(Session& session, ReadRequest request);
Task<Outcome> perform(Session& session, WriteRequest request);
/// Leaves the request in flight.
Task<void> perform_later(Session& session, ReadRequest request);
Task<void> perform_later(Session& session, WriteRequest request);

/// The answer to requests of the VM state that internal snapshots have beside the disk.
Outcome refuse_vm_state(Session& session, const IoRequest& request);

/// `OFFSET LENGTH...`: the sum of the lengths, each of which is bounded, and so is the sum.
/// Errors: in qemu-io's words.
Result<void> parse_vector(const Words& words, IoRequest& request);

/// What only whole sectors can be asked for. Errors: in qemu-io's words.
Result<void> check_sectors(const IoRequest& request);

/// The error for words that make no sense at all: refuse() shows the usage line then.
std::unexpected<Error> misuse();
/// Shows an error of parsing.
Outcome refuse(const Session& session, const Command& command, const Error& error);

}  // namespace platter::cli
