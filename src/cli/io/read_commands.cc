// read, readv, aio_read.
#include <array>
#include <utility>

#include <fmt/format.h>

#include "src/cli/io/numbers.h"
#include "src/cli/io/requests.h"

namespace platter::cli {
namespace {

Result<void> take_number(std::optional<std::uint64_t>& into, std::string_view text) {
  const Result<std::uint64_t> number = parse_io_number(text);
  if (!number) return fail(number.error().clone());
  into = *number;
  return {};
}

struct ReadOptions {
  std::optional<std::byte> pattern;
  std::optional<std::uint64_t> pattern_offset;
  std::optional<std::uint64_t> pattern_length;
};

Result<ReadOptions> take_values(const Words& words) {
  ReadOptions options;
  for (const auto& [letter, value] : words.options) {
    Result<void> taken;
    if (letter == 's') taken = take_number(options.pattern_offset, value);
    if (letter == 'l') taken = take_number(options.pattern_length, value);
    if (!taken) return fail(std::move(taken.error()));
    if (letter != 'P') continue;
    const Result<std::byte> pattern = parse_pattern(value);
    if (!pattern) return fail(pattern.error().clone());
    options.pattern = *pattern;
  }
  return options;
}

// Which part has to be the pattern: within what is read.
Result<void> set_pattern(ReadRequest& request, const ReadOptions& options) {
  request.pattern = options.pattern;
  request.pattern_offset = options.pattern_offset.value_or(0);
  const bool begins_inside = request.pattern_offset <= request.length;
  const std::uint64_t rest = begins_inside ? request.length - request.pattern_offset : 0;
  request.pattern_length = options.pattern_length.value_or(rest);
  if (begins_inside && request.pattern_length <= rest) return {};
  return fail(ErrorKind::invalid_argument, "pattern verification range exceeds end of read data");
}

Result<ReadRequest> parse_read(const Words& words) {
  const Result<ReadOptions> options = take_values(words);
  if (!options) return fail(options.error().clone());
  if (!options->pattern && (options->pattern_offset || options->pattern_length)) return misuse();
  if (words.operands.size() != 2) return misuse();
  ReadRequest request;
  request.name = "read";
  request.take_flags(words);
  request.dump = words.has('v');
  const Result<std::uint64_t> offset = parse_io_number(words.operands[0]);
  if (!offset) return fail(offset.error().clone());
  const Result<std::uint64_t> length = parse_io_number(words.operands[1]);
  if (!length) return fail(length.error().clone());
  if (*length > kRequestMax) {
    return fail(ErrorKind::too_large,
                fmt::format("length cannot exceed {}, given {}", kRequestMax, words.operands[1]));
  }
  request.offset = *offset;
  request.length = *length;
  if (Result<void> pattern = set_pattern(request, *options); !pattern) {
    return fail(std::move(pattern.error()));
  }
  return request;
}

Task<Outcome> read(Session& session, const Command& command, Words words) {
  Result<ReadRequest> request = parse_read(words);
  if (!request) co_return refuse(session, command, request.error());
  if (words.has('b')) co_return refuse_vm_state(session, *request);
  co_return co_await perform(session, *std::move(request));
}

Result<ReadRequest> parse_readv(const Words& words) {
  ReadRequest request;
  request.name = "readv";
  request.take_flags(words);
  request.dump = words.has('v');
  const Result<ReadOptions> options = take_values(words);
  if (!options) return fail(options.error().clone());
  request.pattern = options->pattern;
  if (Result<void> vector = parse_vector(words, request); !vector) {
    return fail(std::move(vector.error()));
  }
  request.pattern_length = request.length;
  return request;
}

Task<Outcome> readv(Session& session, const Command& command, Words words) {
  Result<ReadRequest> request = parse_readv(words);
  if (!request) co_return refuse(session, command, request.error());
  co_return co_await perform(session, *std::move(request));
}

Task<Outcome> aio_read(Session& session, const Command& command, Words words) {
  if (words.has('i')) {
    session.print("injecting invalid read request\n");
    co_return Outcome::done;
  }
  Result<ReadRequest> request = parse_readv(words);
  if (!request) co_return refuse(session, command, request.error());
  co_await perform_later(session, *std::move(request));
  co_return Outcome::done;
}

constexpr std::string_view kVectorHelp = R"(
 One request, into memory of several pieces where several lengths are given.
 Example: 'readv -v 512 1k 1k' reads 2 KiB from byte 512 on and shows them.
 -C, -- report in one line of numbers
 -P, -- all bytes have to be this one
 -q, -- no report
 -v, -- show what was read
)";

constexpr std::string_view kAsyncHelp = R"(
 As readv, but the next command does not wait for it: see aio_flush. It says itself how it went, and
 changes no exit code.
 Example: 'aio_read -v 512 1k 1k' reads 2 KiB from byte 512 on and shows them.
 -C, -- report in one line of numbers
 -i, -- say that an invalid request is counted, and send none
 -P, -- all bytes have to be this one
 -q, -- no report
 -v, -- show what was read
)";

constexpr std::string_view kReadHelp = R"(
 Example: 'read -v 512 1k' reads 1 KiB from byte 512 on and shows it.
 -b, -- of the VM state of internal snapshots (not there yet)
 -C, -- report in one line of numbers
 -l, -- how many bytes have to be the pattern (with -P; default: the rest)
 -p, -- changes nothing
 -P, -- bytes have to be this one
 -q, -- no report
 -s, -- where the pattern begins, within what is read (with -P)
 -v, -- show what was read
)";

}  // namespace

std::span<const Command> read_commands() {
  static constexpr std::array kCommands{
      Command{.name = "read",
              .alias = "r",
              .synopsis = "[-abCqv] [-P pattern [-s off] [-l len]] off len",
              .summary = "reads a number of bytes at a specified offset",
              .help = kReadHelp,
              .letters = "bCl:pP:qs:v",
              .words_min = 2,
              .words_max = kAnyNumber,
              .takes_options = true,
              .run = read},
      Command{.name = "readv",
              .synopsis = "[-Cqv] [-P pattern] off len [len..]",
              .summary = "reads a number of bytes at a specified offset",
              .help = kVectorHelp,
              .letters = "CP:qv",
              .words_min = 2,
              .words_max = kAnyNumber,
              .takes_options = true,
              .run = readv},
      Command{.name = "aio_read",
              .synopsis = "[-Ciqv] [-P pattern] off len [len..]",
              .summary = "asynchronously reads a number of bytes",
              .help = kAsyncHelp,
              .letters = "CP:iqv",
              .words_min = 2,
              .words_max = kAnyNumber,
              .takes_options = true,
              .run = aio_read},
  };
  return kCommands;
}

}  // namespace platter::cli
