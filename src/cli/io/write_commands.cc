// write, writev, aio_write, discard.
#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "src/cli/io/numbers.h"
#include "src/cli/io/report.h"
#include "src/cli/io/requests.h"

namespace platter::cli {
namespace {

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

Result<void> take_values(const Words& words, WriteRequest& request) {
  for (const auto& [letter, value] : words.options) {
    if (letter == 's') request.source = value;
    if (letter != 'P') continue;
    const Result<std::byte> pattern = parse_pattern(value);
    if (!pattern) return fail(pattern.error().clone());
    request.pattern = *pattern;
  }
  return {};
}

// In the order in which qemu-io tells of them.
Result<void> check_conflicts(const Words& words) {
  const bool zeroes = words.has('z');
  const bool vm_state = words.has('b');
  if (vm_state && zeroes) return wrong("-b and -z cannot be specified at the same time");
  if (words.has('f') && (vm_state || words.has('c'))) {
    return wrong("-f and -b or -c cannot be specified at the same time");
  }
  if (words.has('n') && !zeroes) return wrong("-n requires -z to be specified");
  if (words.has('u') && !zeroes) return wrong("-u requires -z to be specified");
  if (static_cast<int>(zeroes) + static_cast<int>(words.has('P')) +
          static_cast<int>(words.has('s')) >
      1) {
    return wrong("Only one of -z, -P, and -s can be specified at the same time");
  }
  return {};
}

// `limited`: what a length above the limit would need; nothing: there is no limit.
Result<void> parse_range(const Words& words, std::optional<std::string_view> limited,
                         IoRequest& request) {
  const Result<std::uint64_t> offset = parse_io_number(words.operands[0]);
  if (!offset) return fail(offset.error().clone());
  const Result<std::uint64_t> length = parse_io_number(words.operands[1]);
  if (!length) return fail(length.error().clone());
  request.offset = *offset;
  request.length = *length;
  if (!limited || *length <= kRequestMax) return {};
  return fail(ErrorKind::too_large, fmt::format("length cannot exceed {}{}, given {}", kRequestMax,
                                                *limited, words.operands[1]));
}

Result<WriteRequest> parse_write(const Words& words) {
  WriteRequest request;
  request.name = "write";
  request.take_flags(words);
  request.durable = words.has('f');
  request.may_unmap = words.has('u');
  if (words.has('c')) request.kind = WriteKind::compressed;
  if (words.has('z')) request.kind = WriteKind::zeroes;
  if (Result<void> taken = take_values(words, request); !taken) {
    return fail(std::move(taken.error()));
  }
  if (words.operands.size() != 2) return misuse();
  if (Result<void> good = check_conflicts(words); !good) return fail(std::move(good.error()));
  const std::optional<std::string_view> limited =
      words.has('n') ? std::nullopt : std::optional<std::string_view>(" without -n");
  if (Result<void> range = parse_range(words, limited, request); !range) {
    return fail(std::move(range.error()));
  }
  if (words.has('c')) {
    if (Result<void> aligned = check_sectors(request); !aligned) {
      return fail(std::move(aligned.error()));
    }
  }
  return request;
}

Task<Outcome> write(Session& session, const Command& command, Words words) {
  Result<WriteRequest> request = parse_write(words);
  if (!request) co_return refuse(session, command, request.error());
  if (words.has('b')) co_return refuse_vm_state(session, *request);
  co_return co_await perform(session, *std::move(request));
}

Result<WriteRequest> parse_writev(const Words& words, std::string_view name) {
  WriteRequest request;
  request.name = name;
  request.take_flags(words);
  request.durable = words.has('f');
  if (Result<void> taken = take_values(words, request); !taken) {
    return fail(std::move(taken.error()));
  }
  if (Result<void> vector = parse_vector(words, request); !vector) {
    return fail(std::move(vector.error()));
  }
  return request;
}

Task<Outcome> writev(Session& session, const Command& command, Words words) {
  Result<WriteRequest> request = parse_writev(words, "writev");
  if (!request) co_return refuse(session, command, request.error());
  co_return co_await perform(session, *std::move(request));
}

// Zeroes take no memory: one length, of any size.
Result<WriteRequest> parse_aio_write(const Words& words) {
  if (!words.has('z')) {
    if (words.has('u') && words.operands.size() >= 2)
      return wrong("-u requires -z to be specified");
    return parse_writev(words, "aio_write");
  }
  WriteRequest request{.kind = WriteKind::zeroes};
  request.name = "aio_write";
  request.take_flags(words);
  request.durable = words.has('f');
  request.may_unmap = words.has('u');
  if (Result<void> taken = take_values(words, request); !taken) {
    return fail(std::move(taken.error()));
  }
  if (words.operands.size() < 2) return misuse();
  if (words.operands.size() > 2) return wrong("-z supports only a single length parameter");
  if (Result<void> range = parse_range(words, std::nullopt, request); !range) {
    return fail(std::move(range.error()));
  }
  return request;
}

Task<Outcome> aio_write(Session& session, const Command& command, Words words) {
  if (words.has('i')) {
    session.print("injecting invalid write request\n");
    co_return Outcome::done;
  }
  Result<WriteRequest> request = parse_aio_write(words);
  if (!request) co_return refuse(session, command, request.error());
  co_await perform_later(session, *std::move(request));
  co_return Outcome::done;
}

Task<Outcome> discard(Session& session, const Command& command, Words words) {
  if (words.operands.size() != 2) co_return session.wrong_use(command);
  IoRequest request;
  request.name = "discard";
  request.take_flags(words);
  const Result<void> range = parse_range(words, "", request);
  if (!range) co_return session.complain(range.error());
  const auto start = std::chrono::steady_clock::now();
  const Result<void> done =
      co_await session.disk()->discard(request.offset, request.length).result();
  if (!done) co_return session.request_failed(request.name, done.error());
  if (request.quiet) co_return Outcome::done;
  session.print(report_text({.operation = "discard",
                             .offset = request.offset,
                             .length = request.length,
                             .time = std::chrono::steady_clock::now() - start,
                             .machine_readable = request.machine_readable}));
  co_return Outcome::done;
}

constexpr std::string_view kWriteHelp = R"(
 Example: 'write 512 1k' writes 1 KiB of the byte 0xcd from byte 512 on.
 -b, -- to the VM state of internal snapshots (not there yet)
 -c, -- in compressed form: whole clusters
 -C, -- report in one line of numbers
 -f, -- durable before it is reported
 -n, -- with -z: of any length
 -p, -- changes nothing
 -P, -- this byte
 -q, -- no report
 -s, -- what this file holds, over and over
 -u, -- with -z: the zeroes may become a hole
 -z, -- zeroes, without writing them where the image can
)";

constexpr std::string_view kVectorHelp = R"(
 One request, of memory of several pieces where several lengths are given.
 Example: 'writev 512 1k 1k' writes 2 KiB of the byte 0xcd from byte 512 on.
 -C, -- report in one line of numbers
 -f, -- durable before it is reported
 -P, -- this byte
 -q, -- no report
)";

constexpr std::string_view kAsyncHelp = R"(
 As writev, but the next command does not wait for it: see aio_flush. It says itself how it went, and
 changes no exit code.
 Example: 'aio_write 512 1k 1k' writes 2 KiB of the byte 0xcd from byte 512 on.
 -C, -- report in one line of numbers
 -f, -- durable before it is reported
 -i, -- say that an invalid request is counted, and send none
 -P, -- this byte
 -q, -- no report
 -u, -- with -z: the zeroes may become a hole
 -z, -- zeroes, without writing them where the image can
)";

constexpr std::string_view kDiscardHelp = R"(
 Says that the bytes are not needed any more.
 Example: 'discard 512 1k' discards 1 KiB from byte 512 on.
 -C, -- report in one line of numbers
 -q, -- no report
)";

}  // namespace

std::span<const Command> write_commands() {
  static constexpr std::array kCommands{
      Command{.name = "write",
              .alias = "w",
              .synopsis = "[-bcCfnquz] [-P pattern | -s source_file] off len",
              .summary = "writes a number of bytes at a specified offset",
              .help = kWriteHelp,
              .letters = "bcCfnpP:qs:uz",
              .words_min = 2,
              .words_max = kAnyNumber,
              .takes_options = true,
              .writes = true,
              .run = write},
      Command{.name = "writev",
              .synopsis = "[-Cfq] [-P pattern] off len [len..]",
              .summary = "writes a number of bytes at a specified offset",
              .help = kVectorHelp,
              .letters = "CfqP:",
              .words_min = 2,
              .words_max = kAnyNumber,
              .takes_options = true,
              .writes = true,
              .run = writev},
      Command{.name = "aio_write",
              .synopsis = "[-Cfiquz] [-P pattern] off len [len..]",
              .summary = "asynchronously writes a number of bytes",
              .help = kAsyncHelp,
              .letters = "CfiP:quz",
              .words_min = 2,
              .words_max = kAnyNumber,
              .takes_options = true,
              .writes = true,
              .run = aio_write},
      Command{.name = "discard",
              .alias = "d",
              .synopsis = "[-Cq] off len",
              .summary = "discards a number of bytes at a specified offset",
              .help = kDiscardHelp,
              .letters = "Cq",
              .words_min = 2,
              .words_max = kAnyNumber,
              .takes_options = true,
              .writes = true,
              .run = discard},
  };
  return kCommands;
}

}  // namespace platter::cli
