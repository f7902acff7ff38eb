// open, close, reopen.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "src/cli/io/disk_options.h"
#include "src/cli/io/session.h"

namespace platter::cli {
namespace {

std::vector<std::string> values_of(const Words& words, char letter) {
  std::vector<std::string> values;
  for (const auto& [given, value] : words.options) {
    if (given == letter) values.push_back(value);
  }
  return values;
}

Result<DiskOptions> parse_open(const Words& words) {
  DiskOptions options;
  for (const auto& [letter, value] : words.options) {
    Result<void> set;
    switch (letter) {
      case 'r': options.read_only = true; break;
      case 's': options.snapshot = true; break;
      case 'C': options.copy_on_read = true; break;
      case 'U': options.force_share = true; break;
      case 'k': options.native = true; break;
      case 'n': set = set_cache(options, "none"); break;
      case 't': set = set_cache(options, value); break;
      case 'd': set = set_discard(options, value); break;
      case 'i': set = set_engine(options, value); break;
      default: break;
    }
    if (!set) return fail(std::move(set.error()));
  }
  return options;
}

Task<Outcome> open(Session& session, const Command& command, Words words) {
  Result<DiskOptions> options = parse_open(words);
  if (!options) co_return session.report_error(options.error().message());
  if (words.operands.size() > 1) co_return session.wrong_use(command);
  const Result<std::vector<CreateOption>> given = parse_create_options(values_of(words, 'o'));
  if (!given) co_return session.report_error(given.error().message());
  if (!given->empty() && session.images_are_options()) {
    co_return session.warn("--image-opts and 'open -o' are mutually exclusive");
  }
  if (session.disk() != nullptr) {
    co_return session.report_error("file open already, try 'help close'");
  }
  if (!words.operands.empty()) options->filename = words.operands.front();
  Result<void> done = set_driver_options(*options, *given);
  if (!done) {
    done = fail(std::move(done.error()).with_context("can't open device " + options->filename));
  } else if (words.operands.empty() && options->filename.empty()) {
    done = fail(ErrorKind::invalid_argument, "can't open: Must specify either driver or file");
  } else {
    done = co_await session.open(*std::move(options)).result();
  }
  if (!done) co_return session.report_error(done.error().message());
  co_return Outcome::done;
}

Task<Outcome> close(Session& session, const Command& /*command*/, Words /*words*/) {
  const Result<void> done = co_await session.close().result();
  if (!done) co_return session.report_error(done.error().message());
  co_return Outcome::done;
}

Result<void> check_conflicts(const Words& words, const std::vector<CreateOption>& given) {
  auto is_given = [&given](std::string_view start) {
    return std::ranges::any_of(
        given, [start](const CreateOption& o) { return o.name.starts_with(start); });
  };
  const bool access = words.has('r') || words.has('w');
  if (access && is_given("read-only")) {
    return fail(ErrorKind::invalid_argument, "Cannot set both -r/-w and 'read-only'");
  }
  if (words.has('c') && is_given("cache.")) {
    return fail(ErrorKind::invalid_argument, "Cannot set both -c and the cache options");
  }
  return {};
}

// What the image is to be open as, beginning with what it is open as.
Result<DiskOptions> parse_reopen(const Words& words, Disk& disk) {
  DiskOptions options = disk.options();
  options.warned = true;
  for (const auto& [letter, value] : words.options) {
    if (letter == 'r' || letter == 'w') options.read_only = letter == 'r';
    if (letter != 'c') continue;
    if (Result<void> set = set_cache(options, value); !set) return fail(std::move(set.error()));
  }
  if (std::ranges::count_if(words.options, [](const Words::Given& given) {
        return given.letter == 'r' || given.letter == 'w';
      }) > 1) {
    return fail(ErrorKind::invalid_argument, "Only one -r/-w option may be given");
  }
  return options;
}

Task<Outcome> reopen(Session& session, const Command& command, Words words) {
  Disk& disk = *session.disk();
  Result<DiskOptions> options = parse_reopen(words, disk);
  if (!options) co_return session.report_error(options.error().message());
  if (!words.operands.empty()) co_return session.wrong_use(command);
  const Result<std::vector<CreateOption>> given = parse_create_options(values_of(words, 'o'));
  if (!given) co_return session.report_error(given.error().message());
  Result<void> good = check_conflicts(words, *given);
  if (good) good = change_driver_options(*options, disk.image().format(), *given);
  if (!good) co_return session.report_error(good.error().message());
  const Result<void> done = co_await session.reopen(*std::move(options)).result();
  if (!done) co_return session.report_error(done.error().message());
  co_return Outcome::done;
}

constexpr std::string_view kOpenHelp = R"(
 Example: 'open -n -o driver=raw /tmp/data' opens raw data past the page cache.
 -C, -- keep what is read of a backing image
 -d, -- discards: ignore (off), unmap (on, default)
 -i, -- threads, native or io_uring: the ring stays the one that the program began with
 -k, -- the same as -i native
 -n, -- past the page cache, the same as -t none
 -o, -- driver=FMT, file.filename=NAME, cache.direct=on, cache.no-flush=on, discard=unmap, ...
 -r, -- for reading only
 -s, -- writes go to an overlay that vanishes
 -t, -- none, directsync, writeback (default), writethrough, unsafe
 -U, -- with -r: although another process is writing to the image
)";

constexpr std::string_view kReopenHelp = R"(
 Example: 'reopen -r' lets nothing be written from now on.
 -c, -- another cache mode, as -t of open
 -o, -- options as of open, as far as they can change
 -r, -- for reading only
 -w, -- for writing, too
)";

}  // namespace

std::span<const Command> open_commands() {
  static constexpr std::array kCommands{
      Command{.name = "open",
              .alias = "o",
              .synopsis = "[-rsCnkU] [-t cache] [-d discard] [-o options] [path]",
              .summary = "open the file specified by path",
              .help = kOpenHelp,
              .letters = "snCro:ki:t:d:U",
              .words_min = 1,
              .words_max = kAnyNumber,
              .takes_options = true,
              .needs_image = false,
              .run = open},
      Command{
          .name = "close", .alias = "c", .summary = "close the current open file", .run = close},
      Command{.name = "reopen",
              .synopsis = "[(-r|-w)] [-c cache] [-o options]",
              .summary = "reopens an image with new options",
              .help = kReopenHelp,
              .letters = "c:o:rw",
              .words_max = kAnyNumber,
              .takes_options = true,
              .run = reopen},
  };
  return kCommands;
}

}  // namespace platter::cli
