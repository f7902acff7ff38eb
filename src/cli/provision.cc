#include <memory>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "src/cli/base_source.h"
#include "src/cli/disk_arguments.h"
#include "src/cli/disk_report.h"
#include "src/cli/image_arguments.h"
#include "src/cli/json_text.h"
#include "src/cli/progress_bar.h"
#include "src/cli/provision_batch.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"
#include "src/provision/open_backend.h"

namespace platter::cli {
namespace {

using provision::BackendUse;
using provision::DiskReport;
using provision::DiskRequest;
using provision::ImageBackend;

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {0, "base", "FILE",
     "the image that it is made from: a path, a URL, -, or fd:N; without: an empty disk"},
    {0, "image-id", "ID",
     "what the base is known by; default: its URL, or its path, size and time"},
    {0, "make", "swap|ext4|xfs|vfat", "in place of a base: a swap area or filesystem of this size"},
    {'f', "format", "FMT", "the format that the base is said to have; another one is refused"},
    {0, "digest", "DIGEST", "sha256:HEX or sha512:HEX of the base; another one is refused"},
    {0, "size", "SIZE", "the disk's size; default: the base's"},
    {0, "new", "", "fail if the disk exists, instead of keeping and growing it"},
    {0, "dry-run", "", "change nothing, say what would be done"},
    {0, "batch", "FILE",
     "make many disks: lines of JSON with instance, disk and size; -: from stdin"},
    {0, "output", "FORMAT", "human (default) or json"},
    {'p', "", "", "show progress"},
    {'q', "", "", "print nothing but errors"},
};
constexpr auto kOptions = join_options(kOwnOptions, kDiskOptions, kPlaceOptions);

// What is to be fetched, or made, and its name.
Result<BaseSource> given_source(const Arguments& arguments, std::optional<std::uint64_t> size) {
  BaseSource base;
  if (arguments.has("make")) {
    if (arguments.has("base") || arguments.has("image-id")) {
      return fail(ErrorKind::invalid_argument, "--make makes a base: none can be named");
    }
    if (!size) return fail(ErrorKind::invalid_argument, "--make needs --size");
    return made_base_source(arguments.value("make"), *size);
  }
  if (arguments.has("base")) {
    Result<BaseSource> opened = open_base_source(arguments.value("base"));
    if (!opened) return opened;
    base = *std::move(opened);
  }
  if (arguments.has("image-id")) base.image_id = arguments.value("image-id");
  if (base.image_id.empty()) {
    return fail(ErrorKind::invalid_argument,
                "A base that comes through a descriptor needs --image-id");
  }
  Result<std::string> name = provision::base_name_of(base.image_id);
  if (!name) return fail(std::move(name.error()));
  base.base_name = *std::move(name);
  return base;
}

Result<std::optional<provision::BaseRequest>> given_base(const Arguments& arguments,
                                                         std::optional<std::uint64_t> size,
                                                         BaseSource& base) {
  const bool none = !arguments.has("base") && !arguments.has("image-id") && !arguments.has("make");
  if (none) return std::nullopt;
  Result<BaseSource> given = given_source(arguments, size);
  if (!given) return fail(std::move(given.error()));
  base = *std::move(given);
  provision::BaseRequest request{.name = base.base_name, .source = base.source.get()};
  request.declared_format = arguments.value("format");
  request.generated = arguments.has("make");
  if (arguments.has("digest")) {
    Result<provision::ExpectedDigest> digest =
        provision::parse_expected_digest(arguments.value("digest"));
    if (!digest) return fail(std::move(digest.error()));
    request.digest = *std::move(digest);
  }
  return request;
}

Result<DiskRequest> given_request(const Arguments& arguments, const Context& context,
                                  BaseSource& base) {
  DiskRequest request;
  if (!arguments.has("batch")) {
    Result<provision::DiskName> name = given_disk(arguments);
    if (!name) return fail(std::move(name.error()));
    request.name = *std::move(name);
  }
  if (arguments.has("size")) {
    const Result<std::uint64_t> size =
        parse_size_argument(arguments.value("size"), "disk size", context.program());
    if (!size) return fail(size.error().clone());
    request.size = *size;
  }
  Result<std::optional<provision::BaseRequest>> given = given_base(arguments, request.size, base);
  if (!given) return fail(std::move(given.error()));
  request.base = *std::move(given);
  request.must_be_new = arguments.has("new");
  return request;
}

int make_one(Context& context, const Arguments& arguments, ImageBackend& backend,
             DiskRequest request, bool json) {
  const bool quiet = arguments.has("q");
  const bool planned = arguments.has("dry-run");
  const provision::DiskName name = request.name;
  ProgressBar bar(context, arguments.has("p") && !quiet && !planned, 2.0);
  request.progress = &bar.progress();
  request.cancel = &context.cancel();
  Result<DiskReport> report = context.run(planned ? backend.plan(std::move(request))
                                                  : backend.provision(std::move(request)));
  if (report && !planned) bar.complete();
  bar.end();
  if (!report) return context.fail_with(report.error());
  if (quiet) return kExitOk;
  context.print(json ? json_text(disk_json(name, backend.kind(), *report, planned))
                     : disk_text(*report, planned));
  return kExitOk;
}

int run(Context& context, const Arguments& arguments) {
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  if (!arguments.positional().empty()) {
    context.usage_error("Unexpected argument: " + arguments.positional().front());
    return kExitError;
  }
  Result<provision::Config> config = given_config(arguments);
  if (!config) return context.fail_with(config.error());
  BaseSource base;
  Result<DiskRequest> request = given_request(arguments, context, base);
  if (!request) return context.fail_with(request.error());
  const BackendUse use = arguments.has("dry-run") ? BackendUse::look : BackendUse::work;
  const auto backend = provision::open_backend(*std::move(config), use);
  if (!backend) return context.fail_with(backend.error());
  if (!arguments.has("batch")) {
    return make_one(context, arguments, **backend, *std::move(request), *json);
  }
  const BatchOptions batch{.file = arguments.value("batch"),
                           .planned = arguments.has("dry-run"),
                           .quiet = arguments.has("q")};
  return provision_batch(context, **backend, *request, batch);
}

constexpr Example kExamples[] = {
    {"provision --instance 0b4f1e52-3a9c-4d6e-8f00-123456789abc --disk disk --base debian.qcow2 "
     "--size 20G",
     "an overlay over a base that is fetched once"},
    {"provision --backend flat --instance $UUID --disk disk --base debian.qcow2 --dry-run",
     "what would be done?"},
};

}  // namespace

const Verb kProvision{
    .name = "provision",
    .operands = "",
    .help = "Makes an instance's disk from a base image",
    .options = kOptions,
    .run = run,
    .description =
        "Makes an instance's disk: the base image is fetched once, inspected, converted to raw and "
        "kept for others; the disk is an overlay over it (qcow2) or a copy that shares its blocks "
        "where the filesystem can (flat). Files and locks are where OpenStack's compute service "
        "has "
        "them. What a failed run made is removed; running it again is harmless, and finishes what "
        "a "
        "killed one began. A disk that exists is kept, and grown if it is smaller.",
    .examples = kExamples};

}  // namespace platter::cli
