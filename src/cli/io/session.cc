#include "src/cli/io/session.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "io/ring.h"
#include "src/cli/io/line_reader.h"

namespace platter::cli {
namespace {

constexpr std::size_t kMisalignment = 16;  // bytes, as in qemu-io

// The errno value that QEMU has for this.
int errno_of(const Error& error) {
  if (error.os_error() != 0) return error.os_error();
  switch (error.kind()) {
    case ErrorKind::no_space: return ENOSPC;
    case ErrorKind::permission: return EPERM;
    case ErrorKind::read_only: return EACCES;
    case ErrorKind::unsupported: return EOPNOTSUPP;
    case ErrorKind::invalid_argument: return EINVAL;
    case ErrorKind::too_large: return EFBIG;
    case ErrorKind::out_of_memory: return ENOMEM;
    default: return EIO;
  }
}

// Whether the errno value alone leaves out what whoever typed the command does not know.
bool says_more(const Error& error) {
  return error.kind() != ErrorKind::out_of_bounds && error.kind() != ErrorKind::invalid_argument &&
         error.kind() != ErrorKind::permission;
}

}  // namespace

Task<Outcome> Session::run(std::vector<std::string> commands, std::optional<DiskOptions> options) {
  Outcome outcome = Outcome::done;
  auto body = [&](TaskGroup& requests) {
    return run_group(requests, std::move(commands), std::move(options), outcome);
  };
  co_await with_group(kInFlightMax, body);
  co_return outcome;
}

Task<void> Session::run_group(TaskGroup& requests, std::vector<std::string> commands,
                              std::optional<DiskOptions> options, Outcome& outcome) {
  requests_ = &requests;
  if (options) co_await open(*std::move(options));
  Result<void> ran =
      co_await (commands.empty() ? run_input(outcome) : run_all(std::move(commands), outcome))
          .result();
  Result<void> finished = co_await finish().result();
  co_await std::move(ran);
  co_await std::move(finished);
}

Task<void> Session::finish() {
  if (disk_) {
    co_await close();
  } else {
    co_await drain();
  }
}

Task<void> Session::run_all(std::vector<std::string> commands, Outcome& outcome) {
  for (std::string& command : commands) {
    if (quit_) break;
    co_await look_for_cancel(&context_.cancel());
    if (co_await run_line(std::move(command)) == Outcome::failed) outcome = Outcome::failed;
  }
}

Task<void> Session::run_input(Outcome& outcome) {
  LineReader lines(STDIN_FILENO, stop_);
  while (!quit_) {
    print(prompt_);
    std::fflush(stdout);
    std::optional<std::string> line = co_await lines.next();
    if (!line) break;
    if (co_await run_line(*std::move(line)) == Outcome::failed) outcome = Outcome::failed;
  }
}

Task<Outcome> Session::run_line(std::string line) {
  std::vector<std::string> words = split_words(line);
  if (words.empty()) co_return Outcome::done;
  const Command* command = find_command(words.front());
  if (command == nullptr) co_return warn(fmt::format("command \"{}\" not found", words.front()));
  co_return co_await run_command(*command, std::move(words));
}

Task<Outcome> Session::run_command(const Command& command, std::vector<std::string> words) {
  if (command.needs_image && !disk_) co_return warn("no file open, try 'help open'");
  const std::string name = std::move(words.front());
  words.erase(words.begin());
  const std::string miscounted = wrong_count(command, name, words.size());
  if (!miscounted.empty()) co_return warn(miscounted);
  if (command.writes && disk_ && disk_->read_only()) {
    co_return report_error("Block node is read-only");
  }
  if (!command.takes_options) {
    co_return co_await command.run(*this, command, {.options = {}, .operands = std::move(words)});
  }
  Result<Words> parsed = parse_words(name, command.letters, words);
  if (!parsed) {
    warn(parsed.error().message());
    co_return wrong_use(command);
  }
  co_return co_await command.run(*this, command, *std::move(parsed));
}

Task<void> Session::open(DiskOptions options) {
  const std::string name = options.filename;
  Result<std::unique_ptr<Disk>> opened = co_await Disk::open(context_, std::move(options)).result();
  if (!opened) {
    const bool by_options = context_.images().by_options;
    co_await fail(std::move(opened.error())
                      .with_context(by_options ? "can't open" : "can't open device " + name));
  }
  disk_ = std::move(*opened);
}

Task<void> Session::close() {
  Result<void> drained = co_await drain().result();
  const std::unique_ptr<Disk> disk = std::move(disk_);
  co_await disk->close();
  co_await std::move(drained);
}

Task<void> Session::reopen(DiskOptions options) {
  const DiskOptions before = disk_->options();
  // What was written is in the overlay alone.
  if (before.snapshot) {
    co_await fail(ErrorKind::unsupported, "An image opened with -s can't be reopened");
  }
  co_await close();
  Result<void> opened = co_await open(std::move(options)).result();
  if (!opened) co_await open(before);
  co_await std::move(opened);
}

Result<Session::Memory> Session::memory(std::uint64_t length) const {
  const std::size_t skipped = misalign_ ? kMisalignment : 0;
  // A request of no bytes is one all the same.
  const std::size_t size = std::max<std::uint64_t>(length, 1) + skipped;
  Result<Buffer> buffer = Ring::current().buffers().acquire(size);
  if (!buffer) return fail(std::move(buffer.error()));
  const std::span<std::byte> bytes = buffer->bytes().subspan(skipped, length);
  return Memory{.buffer = *std::move(buffer), .bytes = bytes};
}

Outcome Session::complain(std::string_view line) const {
  print(fmt::format("{}\n", line));
  return Outcome::failed;
}

Outcome Session::report_error(std::string_view message) const {
  context_.error(message);
  return Outcome::failed;
}

Outcome Session::warn(std::string_view line) const {
  std::fflush(stdout);
  fmt::print(stderr, "{}\n", line);
  return Outcome::failed;
}

Outcome Session::request_failed(std::string_view what, const Error& error) const {
  complain(fmt::format("{} failed: {}", what, errno_text(errno_of(error))));
  return says_more(error) ? report_error(error.message()) : Outcome::failed;
}

Outcome Session::wrong_use(const Command& command) const {
  print(usage_line(command));
  return Outcome::failed;
}

}  // namespace platter::cli
