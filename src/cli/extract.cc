#include <utility>

#include <fmt/format.h>

#include "src/cli/disk_arguments.h"
#include "src/cli/image_arguments.h"
#include "src/cli/progress_bar.h"
#include "src/cli/verb.h"
#include "src/provision/open_backend.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'O', "target-format", "FMT", "the format of the new image; default: raw"},
    {'c', "compress", "", "write what gets smaller in compressed form (qcow2)"},
    {'p', "", "", "show progress"},
    {'q', "", "", "print nothing but errors"},
};
constexpr auto kOptions = join_options(kOwnOptions, kDiskOptions, kPlaceOptions);

int run(Context& context, const Arguments& arguments) {
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  Result<provision::Config> config = given_config(arguments);
  if (!config) return context.fail_with(config.error());
  Result<provision::DiskName> name = given_disk(arguments);
  if (!name) return context.fail_with(name.error());
  const std::string format = arguments.value("target-format", "raw");
  if (Result<void> known = check_target_format(format); !known) {
    return context.fail_with(known.error());
  }
  if (arguments.has("compress") && format != "qcow2") {
    context.error(fmt::format("Format '{}' has no compressed form", format));
    return kExitError;
  }
  const auto backend = provision::open_backend(*std::move(config), provision::BackendUse::work);
  if (!backend) return context.fail_with(backend.error());
  const bool quiet = arguments.has("q");
  ProgressBar bar(context, arguments.has("p") && !quiet, 2.0);
  provision::ExtractRequest request{.name = *std::move(name),
                                    .target = arguments.positional().front(),
                                    .format = format,
                                    .compress = arguments.has("compress"),
                                    .progress = &bar.progress(),
                                    .cancel = &context.cancel()};
  const Result<void> done = context.run((*backend)->extract(std::move(request)));
  if (done) bar.complete();
  bar.end();
  return done ? kExitOk : context.fail_with(done.error());
}

constexpr Example kExamples[] = {
    {"extract --instance 0b4f1e52-3a9c-4d6e-8f00-123456789abc --disk disk -O qcow2 -c "
     "snapshot.qcow2",
     "a snapshot to keep elsewhere, as small as it gets"},
};

}  // namespace

const Verb kExtract{.name = "extract",
                    .operands = "TARGET",
                    .help = "Copies an instance's disk into an image of its own",
                    .options = kOptions,
                    .run = run,
                    .description =
                        "Copies what an instance's disk holds, and what it takes from its base, "
                        "into an image that stands on nothing else. The disk's format is the one "
                        "that was recorded when it was made, whatever its guest has written. A "
                        "disk that a guest is writing to is refused.",
                    .examples = kExamples};

}  // namespace platter::cli
