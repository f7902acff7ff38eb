#include "src/ops/rebase.h"

#include <string>
#include <utility>

#include <fmt/format.h>

#include "src/cli/image_arguments.h"
#include "src/cli/json_progress.h"
#include "src/cli/progress_bar.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "the image's format; default: decided by its content"},
    {'F', "", "FMT", "the new backing file's format"},
    {'b', "", "FILE", "the new backing file, relative to the image's folder; '' for none"},
    {'u', "", "", "unsafe: change the name only; the guest sees what the new file holds"},
    {'c', "", "", "compress what is written"},
    {'p', "", "", "show progress"},
    {'t', "", "CACHE", "the image: none, writeback (default), writethrough, directsync, unsafe"},
    {'T', "", "CACHE", "the new backing file: none, writeback, ..."},
    {'q', "", "", "print nothing but errors"},
    {'U', "force-share", "", "also where another process is writing to the new backing file"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kProgressOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

Task<void> rebase_named(const Context& context, std::string name, OpenOptions open,
                        RebaseOptions options) {
  const OpenedImage opened = co_await open_given(context, name, std::move(open));
  Image& image = *opened.image;
  if (opened.format_was_guessed && image.format() == "raw") warn_of_guess(image.filename());
  const Result<RebaseStats> done = co_await rebase(image, std::move(options)).result();
  Result<void> closed = co_await image.close().result();
  if (!done) co_await fail(done.error().clone());
  co_await std::move(closed);
}

// In qemu-img's order.
Result<void> parse_caches(const Arguments& arguments, OpenOptions& open, RebaseOptions& options) {
  const std::optional<CacheMode> cache = parse_cache_mode(arguments.value("t", "writeback"));
  if (!cache) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Invalid cache option: {}", arguments.value("t")));
  }
  if (arguments.has("t")) open.cache = cache->use;
  open.durability = cache->durability;
  const std::optional<CacheMode> source = parse_cache_mode(arguments.value("T", "writeback"));
  if (!source) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Invalid source cache option: {}", arguments.value("T")));
  }
  if (arguments.has("T")) options.new_cache = source->use;
  return {};
}

int run(Context& context, const Arguments& arguments) {
  RebaseOptions options{.unsafe = arguments.has("u"),
                        .compress = arguments.has("c"),
                        .force_share = arguments.has("force-share"),
                        .cancel = &context.cancel(),
                        .policy = context.images().policy};
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  if (!options.unsafe && !arguments.has("b")) {
    context.usage_error("Must specify backing file (-b) or use unsafe mode (-u)");
    return kExitError;
  }
  if (!arguments.value("b").empty()) options.backing_name = arguments.value("b");
  if (arguments.has("F")) options.backing_format = arguments.value("F");

  ProgressBar bar(context, arguments.has("p") && !arguments.has("q"), 1.0);
  options.progress = &bar.progress();
  OpenOptions open{.purpose = OpenPurpose::write,
                   .format = arguments.value("f"),
                   .without_backing = options.unsafe};
  Result<void> done = parse_caches(arguments, open, options);
  if (done) {
    done = context.run(
        rebase_named(context, arguments.positional().front(), std::move(open), std::move(options)));
  }
  if (done) bar.complete();
  bar.end();
  return done ? kExitOk : context.fail_with(done.error());
}

constexpr Example kExamples[] = {
    {"rebase -b new.qcow2 -F qcow2 disk.qcow2", "put disk.qcow2 on another base"},
    {"rebase -u -b /srv/base.qcow2 -F qcow2 disk.qcow2", "the base was moved"},
    {"rebase -b '' disk.qcow2", "copy what is needed of the base: no backing file any more"},
};

}  // namespace

const Verb kRebase{.name = "rebase",
                   .operands = "FILENAME",
                   .help = "Puts an overlay on another backing file",
                   .options = kOptions,
                   .run = run,
                   .description =
                       "Makes an overlay stand on another backing file and show its guest "
                       "the same as before: where the old one and the new one differ, the "
                       "overlay gets the old contents. An empty name (-b '') makes it "
                       "stand alone.\n\n"
                       "With -u only the name in the image is changed: for files that were "
                       "moved or renamed. What the guest sees is then what the new file "
                       "holds.",
                   .examples = kExamples};

}  // namespace platter::cli
