#include "src/ops/commit.h"

#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "src/cli/image_arguments.h"
#include "src/cli/json_progress.h"
#include "src/cli/progress_bar.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "the image's format; default: decided by its content"},
    {'t', "", "CACHE", "cache mode: none, writeback (default), writethrough, directsync, unsafe"},
    {'b', "", "FILE", "commit into this image of the chain, and don't empty the overlay"},
    {'d', "", "", "don't empty the overlay"},
    {'r', "", "RATE", "bytes each second, at most"},
    {'p', "", "", "show progress"},
    {'q', "", "", "print nothing but errors"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kProgressOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

// One `commit`. Progress is shown from when the image is open.
class Command {
 public:
  Command(Context& context, std::string name, OpenOptions open, CommitOptions options, bool shown)
      : context_(context),
        name_(std::move(name)),
        open_(std::move(open)),
        options_(std::move(options)),
        shows_progress_(shown) {}

  Result<void> run();

 private:
  Task<void> commit_named();

  Context& context_;
  std::string name_;
  OpenOptions open_;
  CommitOptions options_;
  bool shows_progress_;
  std::optional<ProgressBar> bar_;
};

Task<void> Command::commit_named() {
  const OpenedImage opened = co_await open_given(context_, name_, open_);
  Image& image = *opened.image;
  if (opened.format_was_guessed && image.format() == "raw") warn_of_guess(image.filename());
  if (!opened.guessed_backing.empty()) warn_of_guess(opened.guessed_backing);
  bar_.emplace(context_, shows_progress_, 1.0);
  options_.progress = &bar_->progress();
  const Result<CopyStats> done = co_await commit(image, options_).result();
  Result<void> closed = co_await image.close().result();
  if (!done) co_await fail(done.error().clone());
  co_await std::move(closed);
}

Result<void> Command::run() {
  Result<void> done = context_.run(commit_named());
  if (bar_) {
    if (done) bar_->complete();
    bar_->end();
  }
  return done;
}

int run(Context& context, const Arguments& arguments) {
  CommitOptions options{.empty = !arguments.has("d") && !arguments.has("b"),
                        .cancel = &context.cancel()};
  if (arguments.has("b")) options.base = arguments.value("b");
  if (arguments.has("r")) {
    const Result<std::uint64_t> rate =
        parse_size_argument(arguments.value("r"), "rate limit", context.program());
    if (!rate) return context.fail_with(rate.error());
    options.rate_limit = *rate;
  }
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  const std::string cache_name = arguments.value("t", "writeback");
  const std::optional<CacheMode> cache = parse_cache_mode(cache_name);
  if (!cache) {
    context.error(fmt::format("Invalid cache option: {}", cache_name));
    return kExitError;
  }
  const bool quiet = arguments.has("q");
  OpenOptions open{.purpose = OpenPurpose::write,
                   .format = arguments.value("f"),
                   .cache = arguments.has("t") ? cache->use : CacheUse::direct_if_possible,
                   .durability = cache->durability,
                   .writable_backing = WritableBacking{.name = options.base}};
  Command command(context, arguments.positional().front(), std::move(open), std::move(options),
                  arguments.has("p") && !quiet);
  const Result<void> done = command.run();
  if (!done) return context.fail_with(done.error());
  if (!quiet) context.print("Image committed.\n");
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"commit disk.qcow2", "write an overlay into its backing file, and empty it"},
    {"commit -b base.qcow2 top.qcow2", "write all layers above base.qcow2 into that"},
};

}  // namespace

const Verb kCommit{.name = "commit",
                   .operands = "FILENAME",
                   .help = "Writes what an overlay holds into the image that it stands on",
                   .options = kOptions,
                   .run = run,
                   .description =
                       "Copies what an overlay holds into its backing file, which grows if "
                       "it is the smaller one, and then empties the overlay. With -b a "
                       "deeper image of the chain takes all that is above it; the overlay "
                       "keeps its contents then, as with -d, and images in between are no "
                       "longer what they were.\n\n"
                       "The base is durable before the overlay is emptied: a crash or an "
                       "error at any moment leaves what the overlay's guest sees.",
                   .examples = kExamples};

}  // namespace platter::cli
