// The verb `platter io`, or a link named qemu-io.
#include <utility>

#include <fmt/format.h>

#include "src/cli/io/disk_options.h"
#include "src/cli/io/session.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help; -c help tells of the commands"},
    {'c', "cmd", "COMMAND",
     "run a command; several may be given. Default: lines of standard input"},
    {'C', "copy-on-read", "", "keep what is read of a backing image"},
    {'d', "discard", "MODE", "ignore (off): do nothing; unmap (on, default)"},
    {'f', "format", "FMT", "the image's format; default: decided by its content"},
    {'i', "aio", "AIO", "threads; io_uring or native: io_uring (default where it is permitted)"},
    {'k', "native-aio", "", "the same as -i native"},
    {'m', "misalign", "", "use memory that direct I/O needs a copy for"},
    {'n', "nocache", "", "past the page cache, the same as -t none"},
    {'r', "read-only", "", "open the image for reading only"},
    {'s', "snapshot", "", "writes go to an overlay that vanishes"},
    {'t', "cache", "CACHE", "none, directsync, writeback (default), writethrough, unsafe"},
    {'T', "trace", "EVENTS", "taken for qemu-io's sake: there are no trace events"},
    {'U', "force-share", "", "with -r: read although another process is writing to the image"},
    {'V', "version", "", "show the version"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

Result<DiskOptions> parse(const Arguments& arguments) {
  DiskOptions options;
  options.format = arguments.value("format");
  options.read_only = arguments.has("read-only");
  options.force_share = arguments.has("force-share");
  options.snapshot = arguments.has("snapshot");
  options.copy_on_read = arguments.has("copy-on-read");
  for (const auto& [option, value] : arguments.in_order()) {
    Result<void> set;
    if (option == "nocache") set = set_cache(options, "none");
    if (option == "cache") set = set_cache(options, value);
    if (option == "discard") set = set_discard(options, value);
    if (option == "aio") set = set_engine(options, value);
    if (option == "native-aio") options.native = true;
    if (!set) return fail(std::move(set.error()));
  }
  return options;
}

int run_session(Context& context, const Arguments& arguments, DiskOptions options) {
  const Result<StopEvent> stop = StopEvent::make();
  if (!stop) return context.fail_with(stop.error());
  context.on_stop_signal([&stop] { stop->stop(); });
  // As the name in messages, but for the verb.
  const bool linked = context.program() == kLinkedIo;
  Session session(context, *stop, context.program() + (linked ? "> " : " io> "),
                  arguments.has("misalign"));
  const bool has_image = !arguments.positional().empty();
  if (has_image) options.filename = arguments.positional().front();
  auto initial = has_image ? std::optional(std::move(options)) : std::nullopt;
  const Result<Outcome> outcome =
      context.run(session.run(arguments.values("cmd"), std::move(initial)));
  if (!outcome) return context.fail_with(outcome.error());
  return *outcome == Outcome::done ? kExitOk : kExitError;
}

int run(Context& context, const Arguments& arguments) {
  if (arguments.has("version")) {
    context.print(fmt::format("{} version {}\n", context.program(), PLATTER_VERSION));
    return kExitOk;
  }
  Result<DiskOptions> options = parse(arguments);
  if (!options) return context.fail_with(options.error());
  if (arguments.has("image-opts") && arguments.has("format")) {
    context.error("--image-opts and -f are mutually exclusive");
    return kExitError;
  }
  if (arguments.positional().size() > 1) {
    context.usage_error("Expecting one image file name at most");
    return kExitError;
  }
  if (arguments.has("trace")) context.warning("there are no trace events: -T changes nothing");
  if (arguments.value("aio") == "threads") context.set_engine(RingEngineKind::threads);
  if (arguments.value("aio") == "io_uring") context.set_engine(RingEngineKind::io_uring);
  return run_session(context, arguments, *std::move(options));
}

constexpr Example kExamples[] = {
    {"io -f raw -c 'write -P 7 0 64k' -c 'read -P 7 0 64k' disk.raw",
     "write a pattern and verify it"},
    {"io -r disk.qcow2", "look around, command by command"},
};

}  // namespace

const Verb kIo{.name = "io",
               .operands = "[FILENAME]",
               .help = "Reads, writes and examines an image, command by command",
               .options = kOptions,
               .run = run,
               .description =
                   "What qemu-io is to QEMU, also when it is linked under that name: "
                   "commands that read, write, zero, discard and examine an image. "
                   "They come with -c, or line by line on standard input; \"help\" lists "
                   "them, and \"help COMMAND\" tells of one.",
               .examples = kExamples};

}  // namespace platter::cli
