#include "src/ops/clone.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "src/cli/image_arguments.h"
#include "src/cli/json_text.h"
#include "src/cli/progress_bar.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "format", "FMT", "the source's format; default: decided by its content"},
    {'m', "mode", "MODE", "reflink, copy, overlay, or auto (default): the first that can be done"},
    {0, "output", "FORMAT", "human (default) or json"},
    {'p', "", "", "show progress"},
    {'q', "", "", "print nothing but errors"},
    {'U', "force-share", "", "also where another process is writing to the source"},
};

std::string clone_text(const CloneOptions& options, const CloneResult& result) {
  std::string text = fmt::format("Cloned '{}' to '{}': {}, format {}\n", options.source,
                                 options.target, to_string(result.mode), result.format);
  if (result.backing_file) text += fmt::format("backing file: {}\n", *result.backing_file);
  if (result.reason) text += fmt::format("because: {}\n", *result.reason);
  return text;
}

// All keys are always there.
std::string clone_json(const CloneOptions& options, const CloneResult& result) {
  nlohmann::ordered_json json;
  json["source"] = options.source;
  json["target"] = options.target;
  json["mode"] = to_string(result.mode);
  json["format"] = result.format;
  json["virtual-size"] = result.virtual_size;
  json["backing-filename"] = nullptr;
  if (result.backing_file) json["backing-filename"] = *result.backing_file;
  json["reason"] = nullptr;
  if (result.reason) json["reason"] = *result.reason;
  return json_text(json);
}

int run(Context& context, const Arguments& arguments) {
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  const Result<CloneMode> mode = parse_clone_mode(arguments.value("mode", "auto"));
  if (!mode) return context.fail_with(mode.error());
  if (arguments.positional().size() != 2) {
    context.usage_error("Expecting the names of a source and a target");
    return kExitError;
  }
  const bool quiet = arguments.has("q");
  ProgressBar bar(context, arguments.has("p") && !quiet, 2.0);
  CloneOptions options{.source = arguments.positional()[0],
                       .source_format = arguments.value("format"),
                       .target = arguments.positional()[1],
                       .mode = *mode,
                       .force_share = arguments.has("force-share"),
                       .cancel = &context.cancel(),
                       .progress = &bar.progress()};
  Result<CloneResult> result = context.run(clone_image(options));
  if (result) bar.complete();
  bar.end();
  if (!result) {
    const std::string what = "Could not clone '" + options.source + "'";
    return context.fail_with(std::move(result.error()).with_context(what));
  }
  if (!quiet) {
    context.print(*json ? clone_json(options, *result) : clone_text(options, *result));
  }
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"clone base.qcow2 disk.qcow2", "as can be done best"},
    {"clone --mode=reflink base.raw disk.raw", "by sharing blocks, or not at all"},
};

}  // namespace

const Verb kClone{.name = "clone",
                  .operands = "SOURCE TARGET",
                  .help = "Makes another image with the same contents, sharing blocks where it can",
                  .options = kOptions,
                  .run = run,
                  .description =
                      "Makes another image with the same contents, in the source's "
                      "format: by sharing its blocks where the filesystem can (reflink), "
                      "else by a copy in the kernel, else as an overlay on the source; or "
                      "in the way that --mode names. It says which, and why no better "
                      "one. Names of backing files keep their meaning, or the clone is "
                      "refused.",
                  .examples = kExamples};

}  // namespace platter::cli
