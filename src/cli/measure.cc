#include "src/ops/measure.h"

#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "src/cli/create_options.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"
#include "src/ops/snapshot.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {0, "output", "FORMAT", "human (default) or json"},
    {'O', "", "FMT", "the new image's format (default: raw)"},
    {'o', "", "OPTIONS", "name=value,... for the new image, as for create"},
    {0, "size", "SIZE", "of an empty disk of this size"},
    {'f', "", "FMT", "the source's format; default: decided by its content"},
    {'l', "", "SNAPSHOT",
     "what the source held then: its id or name, or snapshot.id=...,snapshot.name=..."},
    {'U', "force-share", "", "also where another process is writing to the source"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

struct Request {
  std::optional<std::uint64_t> size;
  std::string filename;
  OpenOptions open{.purpose = OpenPurpose::read};
  std::optional<SnapshotKey> snapshot;
  std::string format;
  bool json = false;
};

Result<Request> parse(const Arguments& arguments, const Context& context) {
  Request request{.format = arguments.value("O", "raw")};
  const Result<bool> json = wants_json(arguments);
  if (!json) return fail(json.error().clone());
  request.json = *json;
  if (arguments.has("l")) {
    Result<SnapshotKey> key = parse_snapshot(arguments.value("l"), context);
    if (!key) return fail(std::move(key.error()));
    request.snapshot = *std::move(key);
  }
  if (arguments.has("size")) {
    const Result<std::uint64_t> size =
        parse_size_argument(arguments.value("size"), "image size", context.program());
    if (!size) return fail(size.error().clone());
    request.size = *size;
  }
  const auto& names = arguments.positional();
  if (names.size() > 1) return wrong("At most one filename argument is allowed.");
  const bool names_image =
      arguments.has("f") || arguments.has("image-opts") || request.snapshot.has_value();
  if (names.empty() && names_image) {
    return wrong("--image-opts, -f, and -l require a filename argument.");
  }
  if (names.empty() && !request.size) {
    return wrong("Either --size N or one filename must be specified.");
  }
  if (!names.empty() && request.size) {
    return wrong("--size N cannot be used together with a filename.");
  }
  if (!names.empty()) request.filename = names.front();
  request.open.format = arguments.value("f");
  request.open.force_share = arguments.has("force-share");
  return request;
}

// What counts of the new image's options; others are looked at when it is made.
Result<qcow2::CreateOptions> measured_options(const CreateOptionValues& values) {
  qcow2::CreateOptions options;
  options.cluster_size = values.number("cluster_size").value_or(options.cluster_size);
  options.extended_l2 = values.boolean("extended_l2").value_or(false);
  const std::string compat = values.text("compat").value_or("1.1");
  const Result<unsigned> version = parse_compatibility(compat);
  if (!version) return wrong(fmt::format("Invalid compatibility level: '{}'", compat));
  options.version = *version;
  options.refcount_bits = values.number("refcount_bits").value_or(options.refcount_bits);
  options.backing_file = values.text("backing_file");
  const std::string preallocation = values.text("preallocation").value_or("off");
  const Result<Preallocation> mode = parse_preallocation(preallocation);
  if (!mode) return wrong("invalid parameter value: " + preallocation);
  options.preallocation = *mode;
  return options;
}

// What lies before the payload, which is as large as the disk.
Result<std::uint64_t> luks_header_size(const Context& context, const CreateOptionValues& values) {
  const Result<LuksCreateOptions> options =
      luks_options_of(values, *context.images().policy.secrets);
  if (!options) return fail(options.error().clone());
  const Result<luks::Luks1Header> header = luks::plan_luks1(options->header);
  if (!header) return fail(header.error().clone());
  return header->payload_offset();
}

Task<Measurement> measure_named(Context& context, const Request& request,
                                qcow2::CreateOptions options) {
  const OpenedImage opened = co_await open_given(context, request.filename, request.open);
  Image& image = *opened.image;
  Result<void> shown;
  if (request.snapshot) shown = co_await show_snapshot(image, *request.snapshot).result();
  if (!shown) co_await fail(std::move(shown.error()).with_context("Failed to load snapshot"));
  const Measurement measured =
      co_await measure_copy(image, request.format, std::move(options), &context.cancel());
  co_await image.close();
  co_return measured;
}

std::string text_of(const Measurement& measured) {
  std::string text = fmt::format("required size: {}\nfully allocated size: {}\n", measured.required,
                                 measured.fully_allocated);
  if (measured.bitmaps) text += fmt::format("bitmaps size: {}\n", *measured.bitmaps);
  return text;
}

std::string json_of(const Measurement& measured) {
  const std::string bitmaps =
      measured.bitmaps ? fmt::format("    \"bitmaps\": {},\n", *measured.bitmaps) : "";
  return fmt::format("{{\n{}    \"required\": {},\n    \"fully-allocated\": {}\n}}\n", bitmaps,
                     measured.required, measured.fully_allocated);
}

Result<Measurement> measure(Context& context, const Arguments& arguments, const Request& request) {
  if (const auto known = check_target_format(request.format); !known) {
    return fail(known.error().clone());
  }
  const auto given = parse_create_options(arguments.values("o"));
  if (!given) return fail(given.error().clone());
  CreateOptionValues values = CreateOptionValues::of_format(request.format);
  if (const auto set = values.set(*given, !context.as_qemu()); !set) {
    context.error(set.error());
    return wrong(fmt::format("Invalid options for file format '{}'", request.format));
  }
  qcow2::CreateOptions options;
  if (request.format == "qcow2") {
    Result<qcow2::CreateOptions> meant = measured_options(values);
    if (!meant) return fail(std::move(meant.error()));
    options = *std::move(meant);
  }
  std::uint64_t header_size = 0;
  if (request.format == "luks") {
    const Result<std::uint64_t> size = luks_header_size(context, values);
    if (!size) return fail(size.error().clone());
    header_size = *size;
  }
  Result<Measurement> measured;
  if (request.size) {
    options.size = *request.size;
    measured = measure_empty(request.format, options);
  } else {
    measured = context.run(measure_named(context, request, std::move(options)));
  }
  if (!measured) return measured;
  measured->required += header_size;
  measured->fully_allocated += header_size;
  return measured;
}

int run(Context& context, const Arguments& arguments) {
  const Result<Request> request = parse(arguments, context);
  if (!request) return context.fail_with(request.error());
  const Result<Measurement> measured = measure(context, arguments, *request);
  if (!measured) return context.fail_with(measured.error());
  context.print(request->json ? json_of(*measured) : text_of(*measured));
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"measure -O qcow2 disk.raw", "for a copy of disk.raw"},
    {"measure -O qcow2 --size 100G", "for a new disk"},
};

}  // namespace

const Verb kMeasure{.name = "measure",
                    .operands = "[FILENAME]",
                    .help = "Tells how large a new image would be",
                    .options = kOptions,
                    .run = run,
                    .description =
                        "Tells how large a file an image needs, empty or as a copy of another one, "
                        "and how large it can get when the guest writes all of it: what to reserve "
                        "before convert writes to a volume.",
                    .examples = kExamples};

}  // namespace platter::cli
