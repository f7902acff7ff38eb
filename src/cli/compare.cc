#include "src/ops/compare.h"

#include <cstdio>
#include <functional>

#include <fmt/format.h>

#include "src/cli/image_arguments.h"
#include "src/cli/progress_bar.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "the first image's format; default: decided by its content"},
    {'F', "", "FMT", "the second image's format; default: decided by its content"},
    {'T', "", "CACHE", "cache mode of both: none, writeback, ...; default: direct I/O if possible"},
    {'p', "", "", "show progress"},
    {'q', "", "", "print nothing but errors"},
    {'s', "", "", "strict: sizes and allocation must be equal too"},
    {'U', "force-share", "", "also where another process is writing to an image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kProgressOptions, kPolicyOptions);

// qemu-img's exit codes for this verb.
constexpr int kExitDiffer = 1;
constexpr int kExitOpenFailed = 2;
constexpr int kExitReadFailed = 4;

// The two images, opened one after the other: the first failure is the one that is told.
Task<CompareResult> compare_named(const Context& context, std::string first,
                                  OpenOptions first_options, std::string second,
                                  OpenOptions second_options, CompareOptions options,
                                  const std::function<void()>& on_opened) {
  const OpenedImage a = co_await open_given(context, std::move(first), std::move(first_options));
  const OpenedImage b = co_await open_given(context, std::move(second), std::move(second_options));
  on_opened();
  const CompareResult result = co_await compare_images(*a.image, *b.image, std::move(options));
  co_await a.image->close();
  co_await b.image->close();
  co_return result;
}

std::string describe(const CompareResult& result) {
  switch (result.outcome) {
    case CompareOutcome::identical: return "Images are identical.\n";
    case CompareOutcome::size_mismatch: return "Strict mode: Image size mismatch!\n";
    case CompareOutcome::status_mismatch:
      return fmt::format("Strict mode: Offset {} block status mismatch!\n", result.offset);
    case CompareOutcome::content_mismatch:
      return fmt::format("Content mismatch at offset {}!\n", result.offset);
  }
  return {};
}

int run(Context& context, const Arguments& arguments) {
  if (arguments.positional().size() != 2) {
    context.usage_error("Expecting two image file names");
    return kExitError;
  }
  const bool quiet = arguments.has("q");
  ProgressBar bar(context, arguments.has("p") && !quiet, 2.0, stdout,
                  ProgressBar::Beginning::by_begin);
  const std::string cache_name = arguments.value("T");
  const std::optional<CacheMode> cache =
      arguments.has("T") ? parse_cache_mode(cache_name) : CacheMode();
  if (!cache) {
    context.error(fmt::format("Invalid source cache option: {}", cache_name));
    bar.end();
    return kExitOpenFailed;
  }
  OpenOptions open{.purpose = OpenPurpose::read};
  open.cache = cache->use;
  open.force_share = arguments.has("force-share");
  OpenOptions open_first = open;
  open_first.format = arguments.value("f");
  OpenOptions open_second = open;
  open_second.format = arguments.value("F");

  CompareOptions options;
  options.strict = arguments.has("s");
  options.cancel = &context.cancel();
  options.progress = &bar.progress();
  options.on_size_mismatch = [&] {
    if (!quiet) context.print("Warning: Image size mismatch!\n");
  };
  bool opened = false;
  const auto on_opened = [&] {
    opened = true;
    bar.begin();
  };
  const Result<CompareResult> result = context.run(compare_named(
      context, arguments.positional()[0], std::move(open_first), arguments.positional()[1],
      std::move(open_second), std::move(options), on_opened));
  if (result && result->outcome == CompareOutcome::identical) bar.complete();
  if (result && !quiet) context.print(describe(*result));
  bar.end();
  if (!result) return context.fail_with(result.error(), opened ? kExitReadFailed : kExitOpenFailed);
  return result->outcome == CompareOutcome::identical ? kExitOk : kExitDiffer;
}

constexpr Example kExamples[] = {
    {"compare disk.qcow2 copy.raw", "tell the first place that differs"},
};

constexpr ExitCode kExitCodes[] = {
    {kExitOk, "the images are identical"},
    {kExitDiffer, "the images differ, or the command line is wrong"},
    {kExitOpenFailed, "an image could not be opened"},
    {kExitReadFailed, "an image could not be read"},
};

}  // namespace

const Verb kCompare{.name = "compare",
                    .operands = "FILENAME1 FILENAME2",
                    .help = "Tells whether two images show their guests the same contents",
                    .options = kOptions,
                    .run = run,
                    .object_exit = kExitOpenFailed,
                    .description =
                        "Compares what two images show their guests, whatever their formats and "
                        "backing files. What is past the end of the shorter one must be zeroes. "
                        "With -s sizes and allocation must be equal too.",
                    .exit_codes = kExitCodes,
                    .examples = kExamples};

}  // namespace platter::cli
