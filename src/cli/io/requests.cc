#include "src/cli/io/requests.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "io/ring.h"
#include "io/unique_fd.h"
#include "src/cli/io/numbers.h"
#include "src/cli/io/report.h"

namespace platter::cli {
namespace {

constexpr const char* kMisuse = "the words make no sense to the command";

using Clock = std::chrono::steady_clock;

bool all_are(std::span<const std::byte> bytes, std::byte value) {
  return std::ranges::all_of(bytes, [value](std::byte byte) { return byte == value; });
}

void report(const Session& session, const IoRequest& request, std::string_view operation,
            Clock::time_point start) {
  if (request.quiet) return;
  session.print(report_text({.operation = operation,
                             .offset = request.offset,
                             .length = request.length,
                             .time = Clock::now() - start,
                             .machine_readable = request.machine_readable}));
}

// Reads up to the buffer's size; returns the count. Blocks: for a worker.
Result<std::size_t> read_start(const std::string& name, std::span<std::byte> into) {
  const UniqueFd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "open", name);
  std::size_t total = 0;
  while (total < into.size()) {
    const ssize_t count = ::read(fd.get(), into.data() + total, into.size() - total);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "read", name);
    if (count == 0) break;
    total += static_cast<std::size_t>(count);
  }
  return total;
}

// The file's bytes, from its start again where it is shorter.
Task<void> fill_from(std::string name, std::span<std::byte> into) {
  auto reading = [&name, into] { return read_start(name, into); };
  const Result<std::size_t> count = co_await Ring::current().offload(reading);
  if (!count) {
    co_await fail(count.error().kind(), fmt::format("{}: {}", name, count.error().reason()));
  }
  if (*count == 0) {
    co_await fail(ErrorKind::invalid_argument, fmt::format("{}: file is empty", name));
  }
  // What there is doubles with each step.
  for (std::size_t filled = *count; filled < into.size();) {
    const std::size_t step = std::min(filled, into.size() - filled);
    std::memcpy(into.data() + filled, into.data(), step);
    filled += step;
  }
}

Task<void> write_bytes(Disk& disk, const WriteRequest& request, std::span<const std::byte> bytes) {
  switch (request.kind) {
    case WriteKind::data: return disk.write(request.offset, bytes);
    case WriteKind::compressed: return disk.write_compressed(request.offset, bytes);
    case WriteKind::zeroes: break;
  }
  return disk.write_zeroes(request.offset, request.length, request.may_unmap);
}

Task<void> write_and_flush(Disk& disk, const WriteRequest& request,
                           std::span<const std::byte> bytes) {
  co_await write_bytes(disk, request, bytes);
  if (request.durable) co_await disk.flush();
}

// Memory with what is to be written; little where there is nothing to be written from.
Task<Session::Memory> data_for(Session& session, const WriteRequest& request) {
  const bool zeroes = request.kind == WriteKind::zeroes;
  Session::Memory memory = co_await session.memory(zeroes ? 0 : request.length);
  std::ranges::fill(memory.bytes, request.pattern);
  if (request.source) co_await fill_from(*request.source, memory.bytes);
  co_return memory;
}

template <class Request>
Task<void> perform_quietly(Session& session, Request request) {
  request.later = true;
  (void)co_await perform(session, std::move(request));  // what was wrong has been said
  std::fflush(stdout);                                  // someone may be looking at the prompt
}

}  // namespace

Task<void> perform_later(Session& session, ReadRequest request) {
  return session.spawn(perform_quietly(session, std::move(request)));
}

Task<void> perform_later(Session& session, WriteRequest request) {
  return session.spawn(perform_quietly(session, std::move(request)));
}

Outcome refuse_vm_state(Session& session, const IoRequest& request) {
  if (const Result<void> aligned = check_sectors(request); !aligned) {
    return session.complain(aligned.error());
  }
  const Error error(ErrorKind::unsupported,
                    fmt::format("'{}': the VM state of internal snapshots can't be read or written",
                                session.disk()->image().filename()));
  return session.request_failed(request.name, error);
}

Task<Outcome> perform(Session& session, ReadRequest request) {
  Disk& disk = *session.disk();
  Session::Memory memory;
  auto start = Clock::now();
  // Before memory is taken that nothing could be read into.
  Result<void> done = disk.check_range(request.offset, request.length);
  if (done) {
    Result<Session::Memory> taken = session.memory(request.length);
    if (!taken) co_return session.request_failed(request.name, taken.error());
    memory = *std::move(taken);
    start = Clock::now();
    done = co_await disk.read(request.offset, memory.bytes).result();
  }
  if (request.later) co_await yield();
  if (!done) co_return session.request_failed(request.name, done.error());

  Outcome outcome = Outcome::done;
  if (request.pattern) {
    const auto part = memory.bytes.subspan(request.pattern_offset, request.pattern_length);
    if (!all_are(part, *request.pattern)) {
      outcome = session.complain(fmt::format("Pattern verification failed at offset {}, {} bytes",
                                             request.offset + request.pattern_offset, part.size()));
    }
  }
  if (request.dump && !request.quiet) session.print(dump_text(request.offset, memory.bytes));
  report(session, request, "read", start);
  co_return outcome;
}

Task<Outcome> perform(Session& session, WriteRequest request) {
  Disk& disk = *session.disk();
  Session::Memory memory;
  auto start = Clock::now();
  Result<void> done = disk.check_range(request.offset, request.length);
  if (done) {
    Result<Session::Memory> data = co_await data_for(session, request).result();
    if (!data && request.source) co_return session.warn(data.error().message());
    if (!data) co_return session.request_failed(request.name, data.error());
    memory = *std::move(data);
    start = Clock::now();
    done = co_await write_and_flush(disk, request, memory.bytes).result();
  }
  if (request.later) co_await yield();
  if (!done) co_return session.request_failed(request.name, done.error());
  report(session, request, "wrote", start);
  co_return Outcome::done;
}

Result<void> parse_vector(const Words& words, IoRequest& request) {
  if (words.operands.size() < 2) return misuse();
  const Result<std::uint64_t> offset = parse_io_number(words.operands.front());
  if (!offset) return fail(offset.error().clone());
  request.offset = *offset;
  for (const std::string& word : std::span(words.operands).subspan(1)) {
    const Result<std::uint64_t> length = parse_io_number(word);
    if (!length) return fail(length.error().clone());
    if (*length > kRequestMax) {
      return fail(ErrorKind::too_large,
                  fmt::format("Argument '{}' exceeds maximum size {}", word, kRequestMax));
    }
    request.length += *length;
    if (request.length > kRequestMax) {
      return fail(ErrorKind::too_large,
                  fmt::format("The total number of bytes exceed the maximum size {}", kRequestMax));
    }
  }
  return {};
}

Result<void> check_sectors(const IoRequest& request) {
  for (const auto& [value, name] :
       {std::pair(request.offset, "offset"), std::pair(request.length, "count")}) {
    if (value % kRequestAlignment == 0) continue;
    return fail(ErrorKind::invalid_argument,
                fmt::format("{} is not a sector-aligned value for '{}'", value, name));
  }
  return {};
}

std::unexpected<Error> misuse() { return fail(ErrorKind::invalid_argument, kMisuse); }

Outcome refuse(const Session& session, const Command& command, const Error& error) {
  const bool misused = error.message() == kMisuse;
  return misused ? session.wrong_use(command) : session.complain(error);
}

}  // namespace platter::cli
