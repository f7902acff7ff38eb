// aio_flush, alloc, flush, info, length, map, truncate.
#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "io/bytes.h"
#include "src/cli/info_text.h"
#include "src/cli/io/numbers.h"
#include "src/cli/io/session.h"

namespace platter::cli {
namespace {

std::string size_of(std::uint64_t bytes) { return size_text(static_cast<double>(bytes)); }

Task<Outcome> aio_flush(Session& session, const Command& /*command*/, Words /*words*/) {
  co_await session.drain();
  co_return Outcome::done;
}

Task<Outcome> flush(Session& session, const Command& /*command*/, Words /*words*/) {
  const Result<void> done = co_await session.disk()->flush().result();
  if (!done) co_return session.report_error(done.error().message());
  co_return Outcome::done;
}

Task<Outcome> length(Session& session, const Command& /*command*/, Words /*words*/) {
  session.print(size_of(session.disk()->image().virtual_size()) + "\n");
  co_return Outcome::done;
}

Task<Outcome> alloc(Session& session, const Command& /*command*/, Words words) {
  const Result<std::uint64_t> offset = parse_io_number(words.operands[0]);
  if (!offset) co_return session.complain(offset.error());
  std::uint64_t count = kRequestAlignment;
  if (words.operands.size() == 2) {
    const Result<std::uint64_t> given = parse_io_number(words.operands[1]);
    if (!given) co_return session.complain(given.error());
    count = *given;
  }
  const std::uint64_t size = session.disk()->image().virtual_size();
  const std::uint64_t length = *offset < size ? std::min(count, size - *offset) : 0;
  std::uint64_t allocated = 0;
  for (std::uint64_t at = 0; at < length;) {
    co_await look_for_cancel(&session.cancel());
    const Result<Disk::Allocation> run =
        co_await session.disk()->allocation(*offset + at, length - at).result();
    if (!run) co_return session.request_failed("is_allocated", run.error());
    at += run->length;
    if (run->allocated) allocated += run->length;
  }
  session.print(
      fmt::format("{}/{} bytes allocated at offset {}\n", allocated, length, size_of(*offset)));
  co_return Outcome::done;
}

Task<Outcome> map(Session& session, const Command& /*command*/, Words /*words*/) {
  const std::uint64_t size = session.disk()->image().virtual_size();
  for (std::uint64_t at = 0; at < size;) {
    co_await look_for_cancel(&session.cancel());
    const Result<Disk::Allocation> run =
        co_await session.disk()->allocation(at, size - at).result();
    if (!run) co_return session.report_error(run.error().message());
    session.print(fmt::format("{} ({:#x}) bytes {} at offset {} ({:#x})\n", size_of(run->length),
                              run->length, run->allocated ? "    allocated" : "not allocated",
                              size_of(at), at));
    at += run->length;
  }
  co_return Outcome::done;
}

// Where the VM state of internal snapshots would begin: behind the last L2 table's range.
std::uint64_t vm_state_offset(const ImageInfo& info) {
  if (!info.qcow2) return 0;
  const std::uint64_t cluster = info.cluster_size.value_or(1);
  const std::uint64_t entries = cluster / (info.qcow2->extended_l2 ? 16 : 8);
  return align_up(info.virtual_size, entries * cluster);
}

Task<Outcome> info(Session& session, const Command& /*command*/, Words /*words*/) {
  const Result<ImageInfo> known = co_await session.disk()->image().info().result();
  if (!known) co_return session.report_error(known.error().message());
  session.print(fmt::format("format name: {}\ncluster size: {}\nvm state offset: {}\n",
                            known->format, size_of(known->cluster_size.value_or(0)),
                            size_of(vm_state_offset(*known))));
  session.print(format_specific_text(*known));
  co_return Outcome::done;
}

Task<Outcome> truncate(Session& session, const Command& command, Words words) {
  ResizeOptions options{.cancel = &session.cancel()};
  for (const auto& [letter, value] : words.options) {
    const Result<Preallocation> mode = parse_preallocation(value);
    if (!mode) co_return session.report_error(mode.error().message());
    options.preallocation = *mode;
  }
  if (words.operands.size() != 1) co_return session.wrong_use(command);
  const Result<std::uint64_t> size = parse_io_number(words.operands.front());
  if (!size) co_return session.complain(size.error());
  // What is in flight was asked for in the old size.
  co_await session.drain();
  const Result<void> done = co_await session.disk()->resize(*size, options).result();
  if (done) co_return Outcome::done;
  if (done.error().kind() == ErrorKind::cancelled) co_return fail(done.error().clone());
  co_return session.report_error(done.error().message());
}

}  // namespace

std::span<const Command> image_commands() {
  static constexpr std::array kCommands{
      Command{.name = "aio_flush",
              .summary = "completes all outstanding aio requests",
              .run = aio_flush},
      Command{.name = "flush",
              .alias = "f",
              .summary = "flush all in-core file state to disk",
              .run = flush},
      Command{.name = "length",
              .alias = "l",
              .summary = "gets the length of the current file",
              .run = length},
      Command{.name = "alloc",
              .alias = "a",
              .synopsis = "offset [count]",
              .summary = "checks if offset is allocated in the file",
              .words_min = 1,
              .words_max = 2,
              .run = alloc},
      Command{.name = "map", .summary = "prints the allocated areas of a file", .run = map},
      Command{.name = "info",
              .alias = "i",
              .summary = "prints information about the current file",
              .run = info},
      Command{.name = "truncate",
              .alias = "t",
              .synopsis = "[-m prealloc_mode] off",
              .summary = "truncates the current file at the given offset",
              .letters = "m:",
              .words_min = 1,
              .words_max = 3,
              .takes_options = true,
              .writes = true,
              .run = truncate},
  };
  return kCommands;
}

}  // namespace platter::cli
