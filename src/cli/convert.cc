#include "src/ops/convert.h"

#include <cstdlib>

#include <fmt/format.h>

#include "io/bytes.h"
#include "src/cli/create_options.h"
#include "src/cli/image_arguments.h"
#include "src/cli/progress_bar.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "the sources' format; default: decided by their content"},
    {'O', "", "FMT", "the target's format (default: raw)"},
    {'o', "", "OPTIONS", "name=value,... for the target; -o help lists them"},
    {'n', "", "", "write into an existing target, don't create it"},
    {'S', "", "SIZE", "leave out runs of zeroes of SIZE or more (default: 4k); 0: write all"},
    {'C', "", "", "let the kernel copy where it can (copy_file_range)"},
    {'W', "", "", "write out of order (platter always does)"},
    {'m', "", "N", "pieces in flight, 1 to 16 (default: 16)"},
    {'r', "", "RATE", "bytes each second, at most"},
    {'t', "", "CACHE", "target: none, directsync, writeback, writethrough, unsafe"},
    {'T', "", "CACHE", "sources: none, writeback, ... (default: direct I/O where possible)"},
    {'p', "", "", "show progress"},
    {'q', "", "", "print nothing but errors"},
    {'c', "", "", "compress (qcow2)"},
    {'B', "", "FILE", "backing file of the target (qcow2): what it holds is not copied"},
    {'F', "", "FMT", "the backing file's format"},
    {'l', "", "SNAPSHOT",
     "what the source held then: its id or name, or snapshot.id=...,snapshot.name=..."},
    {'U', "force-share", "", "also where another process is writing to a source"},
    {0, "salvage", "", "go on after read errors: what can't be read becomes zeroes"},
    {0, "target-image-opts", "", "the target, which exists, is named by options"},
    {0, "target-is-zero", "", "the existing target reads as zeroes"},
    {0, "bitmaps", "", "copy persistent bitmaps of one qcow2 source to a qcow2 target"},
    {0, "skip-broken-bitmaps", "", "with --bitmaps: leave out inconsistent ones, with a warning"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kProgressOptions, kPolicyOptions);

constexpr std::uint64_t kSparseMax = 16 * kMiB;
constexpr unsigned kParallelMax = 16;

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

Result<void> check_conflicts(const Arguments& arguments) {
  if (arguments.has("target-image-opts") && !arguments.has("n")) {
    return wrong("--target-image-opts requires use of -n flag");
  }
  if (arguments.has("C") && arguments.has("c")) {
    return wrong("Cannot enable copy offloading when -c is used");
  }
  if (arguments.has("C") && arguments.has("S")) {
    return wrong("Cannot enable copy offloading when -S is used");
  }
  if (arguments.has("C") && arguments.has("salvage")) {
    return wrong("Cannot use copy offloading in salvaging mode");
  }
  if (arguments.has("skip-broken-bitmaps") && !arguments.has("bitmaps")) {
    return wrong("Use of --skip-broken-bitmaps requires --bitmaps");
  }
  if (arguments.has("target-is-zero") && !arguments.has("n")) {
    return wrong("--target-is-zero requires use of -n flag");
  }
  if (arguments.has("n") && arguments.has("o")) {
    return wrong("-o has no effect when skipping image creation");
  }
  return {};
}

Result<std::uint64_t> parse_sparse_size(const Arguments& arguments, const Context& context) {
  if (!arguments.has("S")) return 4 * kKiB;
  const Result<std::uint64_t> size =
      parse_size_argument(arguments.value("S"), "buffer size for sparse output", context.program());
  if (!size) return fail(size.error().clone());
  if (is_aligned(*size, kSectorSize) && *size <= kSparseMax) return *size;
  return wrong(fmt::format(
      "Invalid buffer size for sparse output specified. Valid sizes are multiples of {} up to {}. "
      "Select 0 to disable sparse detection (fully allocates output).",
      kSectorSize, kSparseMax));
}

Result<unsigned> parse_parallel(const Arguments& arguments) {
  if (!arguments.has("m")) return 0;
  const std::string text = arguments.value("m");
  char* end = nullptr;
  const long count = std::strtol(text.c_str(), &end, 0);  // what is too large becomes LONG_MAX
  const bool whole = !text.empty() && *end == '\0';
  if (whole && count >= 1 && count <= long{kParallelMax}) return static_cast<unsigned>(count);
  return wrong(
      fmt::format("Invalid number of coroutines. Allowed number of coroutines is between 1 and {}",
                  kParallelMax));
}

Result<void> parse_caches(const Arguments& arguments, ConvertOptions& options) {
  if (const std::string name = arguments.value("T"); arguments.has("T")) {
    const std::optional<CacheMode> mode = parse_cache_mode(name);
    if (!mode) return wrong(fmt::format("Invalid source cache option: {}", name));
    options.source_cache = mode->use;
  }
  if (const std::string name = arguments.value("t"); arguments.has("t")) {
    const std::optional<CacheMode> mode = parse_cache_mode(name);
    if (!mode) return wrong(fmt::format("Invalid cache option: {}", name));
    options.target_cache = mode->use;
    options.target_durability = mode->durability;
  }
  return {};
}

Result<void> parse_numbers(const Arguments& arguments, const Context& context,
                           ConvertOptions& options) {
  const Result<std::uint64_t> sparse = parse_sparse_size(arguments, context);
  if (!sparse) return fail(sparse.error().clone());
  options.copy.sparse_size = *sparse;
  const Result<unsigned> parallel = parse_parallel(arguments);
  if (!parallel) return fail(parallel.error().clone());
  options.copy.parallel = *parallel;
  if (arguments.has("r")) {
    const Result<std::uint64_t> rate =
        parse_size_argument(arguments.value("r"), "rate limit", context.program());
    if (!rate) return fail(rate.error().clone());
    options.copy.rate_limit = *rate;
  }
  return {};
}

// What is there for the format of a new target.
Result<void> check_format(const Arguments& arguments, const ConvertOptions& options) {
  // An existing target's format is checked when it is opened.
  const bool creates = options.target_mode == TargetMode::create;
  if (creates) {
    if (auto known = check_target_format(options.target_format); !known) return known;
  }
  const bool plain = options.target_format == "raw" || options.target_format == "luks";
  if (arguments.has("c") && plain) return wrong("Compression not supported for this file format");
  if (arguments.has("B") && plain) {
    return wrong(
        fmt::format("Backing file not supported for file format '{}'", options.target_format));
  }
  if (arguments.has("F") && plain) {
    return wrong(fmt::format("Backing file format not supported for file format '{}'",
                             options.target_format));
  }
  return {};
}

Result<void> set_backing(const Arguments& arguments, CreateOptionValues& values) {
  if (arguments.has("B")) values.set_text("backing_file", arguments.value("B"));
  if (arguments.has("F")) values.set_text("backing_fmt", arguments.value("F"));
  if (values.has("backing_file") && !values.has("backing_fmt")) {
    return wrong("Use of backing file requires explicit backing format");
  }
  return {};
}

Result<void> parse_target_options(const Arguments& arguments, const Context& context,
                                  ConvertOptions& options) {
  const Result<std::vector<CreateOption>> given = parse_create_options(arguments.values("o"));
  if (!given) return fail(given.error().clone());
  const std::string format =
      options.target_mode == TargetMode::existing ? "raw" : options.target_format;
  CreateOptionValues values = CreateOptionValues::of_format(format);
  if (auto read = values.set(*given, !context.as_qemu()); !read) return read;
  if (format == "qcow2") {
    if (auto set = set_backing(arguments, values); !set) return set;
  }
  const auto in_context = [&](Error& error) {
    return fail(std::move(error).with_context(
        fmt::format("{}: error while converting {}", options.target, options.target_format)));
  };
  // The size is the sources'; a size given here is passed over, as qemu-img does.
  options.attributes = attributes_of(values);
  options.compress = arguments.has("c");
  if (format == "luks") {
    Result<LuksCreateOptions> luks = luks_options_of(values, *context.images().policy.secrets);
    if (!luks) return in_context(luks.error());
    options.luks = *std::move(luks);
  }
  if (format != "qcow2") {
    Result<Preallocation> mode = raw_preallocation_of(values);
    if (!mode) return in_context(mode.error());
    options.preallocation = *mode;
    return {};
  }
  Result<qcow2::CreateOptions> qcow2 = qcow2_options_of(values);
  if (!qcow2) return in_context(qcow2.error());
  if (options.compress && qcow2->preallocation != Preallocation::off) {
    return wrong("Compression and preallocation not supported at the same time");
  }
  options.preallocation = qcow2->preallocation;
  options.qcow2 = *std::move(qcow2);
  return {};
}

// What goes through a pipe goes from its start to its end, once.
Result<void> check_pipes(const Arguments& arguments, const ConvertOptions& options) {
  if (options.source_pipe && options.target_pipe) {
    return wrong("An image can't go from a pipe to a pipe");
  }
  struct Conflict {
    std::string_view option;
    bool to_pipe;
    bool from_pipe;
  };
  constexpr Conflict kConflicts[] = {{"n", true, false}, {"c", true, false},     {"C", true, true},
                                     {"S", true, false}, {"r", true, true},      {"B", true, true},
                                     {"l", false, true}, {"bitmaps", true, true}};
  for (const Conflict& conflict : kConflicts) {
    const bool applies =
        (options.target_pipe && conflict.to_pipe) || (options.source_pipe && conflict.from_pipe);
    if (!applies || !arguments.has(conflict.option)) continue;
    return wrong(fmt::format("{}{} can't be used with a pipe",
                             conflict.option.size() == 1 ? "-" : "--", conflict.option));
  }
  if (options.source_pipe && !options.source_format.empty() && options.source_format != "raw") {
    return wrong("Only raw images can be read from a pipe");
  }
  return {};
}

Result<void> name_images(const Arguments& arguments, const Context& context,
                         ConvertOptions& options) {
  const std::vector<std::string>& names = arguments.positional();
  options.target = names.back();
  if (!arguments.has("image-opts") && names.size() == 2) {
    Result<std::unique_ptr<PipeReader>> pipe = given_input_pipe(names.front());
    if (!pipe) return fail(std::move(pipe.error()));
    options.source_pipe = *std::move(pipe);
  }
  if (!arguments.has("target-image-opts")) {
    Result<std::unique_ptr<PipeWriter>> pipe = given_output_pipe(names.back());
    if (!pipe) return fail(std::move(pipe.error()));
    options.target_pipe = *std::move(pipe);
  }
  if (Result<void> possible = check_pipes(arguments, options); !possible) return possible;
  const OpenOptions open{.format = options.source_format, .force_share = options.force_share};
  for (std::size_t i = 0; i + 1 < names.size() && !options.source_pipe; ++i) {
    Result<ImageName> name = given_name(context, names[i], open);
    if (!name) return fail(std::move(name.error()));
    options.sources.push_back(*std::move(name));
  }
  if (options.target_mode == TargetMode::create) return {};
  Result<ImageName> target = read_name(context, names.back(), {.format = arguments.value("O")},
                                       /*by_options=*/arguments.has("target-image-opts"));
  if (!target) return fail(std::move(target.error()));
  options.existing_target = *std::move(target);
  return {};
}

Result<ConvertOptions> parse(const Arguments& arguments, Context& context) {
  ConvertOptions options;
  options.source_format = arguments.value("f");
  const bool target_by_options = arguments.has("target-image-opts");
  options.target_format = arguments.value("O", target_by_options ? "" : "raw");
  options.force_share = arguments.has("force-share");
  options.target_mode = arguments.has("n") ? TargetMode::existing : TargetMode::create;
  options.copy.offload_copy = arguments.has("C");
  options.copy.salvage = arguments.has("salvage");
  options.copy.target_is_zero = arguments.has("target-is-zero");
  options.bitmaps.wanted = arguments.has("bitmaps");
  options.bitmaps.skip_inconsistent = arguments.has("skip-broken-bitmaps");
  options.copy.cancel = &context.cancel();
  options.policy = context.images().policy;
  // Who names a size wants the data looked at.
  options.reflink = !arguments.has("S");
  Result<void> done = parse_numbers(arguments, context, options);
  if (done) done = parse_caches(arguments, options);
  if (done) done = check_conflicts(arguments);
  if (done && arguments.has("l")) {
    Result<SnapshotKey> key = parse_snapshot(arguments.value("l"), context);
    if (!key) return fail(std::move(key.error()));
    options.snapshot = std::move(*key);
  }
  if (!done) return fail(std::move(done.error()));
  if (arguments.positional().size() < 2) return wrong("Must specify image file name");
  done = name_images(arguments, context, options);
  if (!done) return fail(std::move(done.error()));
  return options;
}

// What qemu-img looks at when progress is shown already.
Result<void> parse_target(const Arguments& arguments, const Context& context,
                          ConvertOptions& options) {
  if (Result<void> fits = check_format(arguments, options); !fits) return fits;
  return parse_target_options(arguments, context, options);
}

int run(Context& context, const Arguments& arguments) {
  if (asks_for_help(arguments.values("o"))) {
    if (const auto known = check_target_format(arguments.value("O", "raw")); !known) {
      return context.fail_with(known.error());
    }
    const auto values = CreateOptionValues::of_format(arguments.value("O", "raw"));
    context.print(values.help(/*with_file=*/!arguments.positional().empty()));
    return kExitOk;
  }
  Result<ConvertOptions> options = parse(arguments, context);
  if (!options) return context.fail_with(options.error());
  const bool quiet = arguments.has("q");
  ProgressBar bar(context, arguments.has("p") && !quiet, 1.0,
                  options->target_pipe ? stderr : stdout);
  if (const Result<void> fits = parse_target(arguments, context, *options); !fits) {
    bar.end();
    return context.fail_with(fits.error());
  }
  options->copy.progress = &bar.progress();
  options->copy.on_salvage = [&](const Error& error) {
    if (!quiet) context.warning(error.message());
  };
  options->bitmaps.on_skipped = [&](const std::string& name) {
    context.warning(fmt::format("Skipping inconsistent bitmap '{}'", name));
  };
  const Result<ConvertResult> result = context.run(convert(*std::move(options)));
  if (result) bar.complete();
  bar.end();
  return result ? kExitOk : context.fail_with(result.error());
}

constexpr Example kExamples[] = {
    {"convert -p debian.qcow2 /dev/vg0/disk", "write an image to a volume, and show progress"},
    {"convert -O qcow2 -c -o compression_type=zstd disk.raw disk.qcow2", "make a compressed copy"},
    {"convert --object secret,id=s,file=key -O luks -o key-secret=s disk.qcow2 disk.luks",
     "encrypt a copy"},
    {"convert -O qcow2 -B base.qcow2 -F qcow2 disk.qcow2 small.qcow2",
     "copy only what differs from base.qcow2"},
};

}  // namespace

const Verb kConvert{
    .name = "convert",
    .operands = "SOURCE... TARGET",
    .help = "Copies images into a new one, or into an existing one",
    .options = kOptions,
    .run = run,
    .description =
        "Copies what one image shows its guest, or several behind one another, into an image of "
        "the same or of another format. Zeroes and what is not allocated stay holes. Where the "
        "filesystem can share blocks between files it does, unless -S, -r or --salvage ask for the "
        "data itself.\n\n"
        "A target that does not exist gets its name when it is complete and on the disk; with an "
        "error, a signal or a crash there is none. A block device, or a file that exists, is "
        "written in place: all of it, or with -n into the image that it holds.",
    .examples = kExamples};

}  // namespace platter::cli
