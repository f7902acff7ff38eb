#include <utility>

#include <fmt/format.h>

#include "src/cli/disk_arguments.h"
#include "src/cli/verb.h"
#include "src/provision/open_backend.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'q', "", "", "print nothing but errors"},
};
constexpr auto kOptions = join_options(kOwnOptions, kDiskOptions, kPlaceOptions);

int run(Context& context, const Arguments& arguments) {
  if (!arguments.positional().empty()) {
    context.usage_error("Unexpected argument: " + arguments.positional().front());
    return kExitError;
  }
  Result<provision::Config> config = given_config(arguments);
  if (!config) return context.fail_with(config.error());
  const Result<provision::DiskName> name = given_disk(arguments);
  if (!name) return context.fail_with(name.error());
  const auto backend = provision::open_backend(*std::move(config), provision::BackendUse::work);
  if (!backend) return context.fail_with(backend.error());
  const Result<std::string> path = (*backend)->path_of(*name);
  if (!path) return context.fail_with(path.error());
  const Result<bool> removed = context.run((*backend)->remove(*name, &context.cancel()));
  if (!removed) return context.fail_with(removed.error());
  if (!*removed) {
    context.warning(fmt::format("There is no disk '{}'", *path));
  } else if (!arguments.has("q")) {
    context.print(fmt::format("Removed '{}'\n", *path));
  }
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"deprovision --instance 0b4f1e52-3a9c-4d6e-8f00-123456789abc --disk disk", "remove a disk"},
};

}  // namespace

const Verb kDeprovision{
    .name = "deprovision",
    .operands = "",
    .help = "Removes an instance's disk",
    .options = kOptions,
    .run = run,
    .description =
        "Removes an instance's disk, what is recorded of it, and the instance's folder once that "
        "is "
        "empty. The base stays: others may stand on it. A disk in use is refused; one that is not "
        "there is a warning.",
    .examples = kExamples};

}  // namespace platter::cli
