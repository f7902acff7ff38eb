#include "src/ops/create.h"

#include <cstdio>

#include <fmt/format.h>

#include "formats/reference.h"
#include "io/bytes.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "format of the new image (default: raw)"},
    {'o', "", "OPTIONS", "name=value,...; -o help lists them"},
    {'b', "", "FILE", "backing file (raw images have none)"},
    {'F', "", "FMT", "the backing file's format"},
    {'u', "", "", "don't look at the backing file"},
    {'q', "", "", "print nothing but errors"},
};

struct Request {
  CreateOptions create;
  RawCreateArguments raw;
};

Result<std::uint64_t> decide_size(const RawCreateArguments& raw,
                                  std::optional<std::uint64_t> given) {
  if (given && raw.size) {
    return fail(ErrorKind::invalid_argument, "The image size must be specified only once");
  }
  if (given) return *given;
  if (raw.size) return *raw.size;
  return fail(ErrorKind::invalid_argument, "Image creation needs a size parameter");
}

Result<Request> make_request(const Arguments& arguments, std::optional<std::uint64_t> size) {
  Request request;
  request.create.filename = arguments.positional().front();
  request.create.format = arguments.value("f", "raw");
  if (const auto path = plain_path(request.create.filename); !path) {
    return fail(path.error().clone());
  }
  if (const auto known = check_target_format(request.create.format); !known) {
    return fail(known.error().clone());
  }
  if (arguments.has("b")) {
    return fail(ErrorKind::unsupported, "Backing file not supported for file format 'raw'");
  }
  if (arguments.has("F")) {
    return fail(ErrorKind::unsupported, "Backing file format not supported for file format 'raw'");
  }
  const Result<std::vector<CreateOption>> options = parse_create_options(arguments.values("o"));
  if (!options) return fail(options.error().clone());
  Result<RawCreateArguments> raw = parse_raw_options(*options);
  if (!raw) return fail(std::move(raw.error()));
  const Result<std::uint64_t> decided = decide_size(*raw, size);
  if (!decided) return fail(decided.error().clone());
  request.create.size = *decided;
  request.create.attributes = {.no_cow = raw->no_cow.value_or(false),
                               .extent_size_hint = raw->extent_size_hint};
  request.raw = *std::move(raw);
  return request;
}

// As it could be given again: a comma within a value is doubled.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char letter : value) text.append(letter == ',' ? 2 : 1, letter);
  return text;
}

std::string formatting_line(const Request& request) {
  const RawCreateArguments& raw = request.raw;
  std::string line = fmt::format("Formatting '{}', fmt={} size={}", request.create.filename,
                                 request.create.format, request.create.size);
  if (raw.no_cow) line += fmt::format(" nocow={}", raw.no_cow_text);
  if (raw.preallocation_text) {
    line += fmt::format(" preallocation={}", escaped(*raw.preallocation_text));
  }
  if (raw.extent_size_hint) line += fmt::format(" extent_size_hint={}", *raw.extent_size_hint);
  return line + "\n";
}

// After "Formatting": what is wrong with a value, or with the world.
Result<void> create(Context& context, Request request) {
  const Result<Preallocation> mode = preallocation_of(request.raw);
  if (!mode) return fail(mode.error().clone());
  if (request.create.size > kMaxFileSize - kSectorSize) {
    return fail(ErrorKind::too_large, "The image size is too large for file format 'raw'");
  }
  request.create.preallocation = *mode;
  request.create.size = align_up(request.create.size, kSectorSize);
  request.create.cancel = &context.cancel();
  Result<void> created = context.run(create_image(std::move(request.create)));
  if (!created && created.error().kind() == ErrorKind::too_large) {
    return fail(ErrorKind::too_large, "The image size is too large for file format 'raw'");
  }
  return created;
}

int run(Context& context, const Arguments& arguments) {
  const auto& operands = arguments.positional();
  if (asks_for_help(arguments.values("o"))) {
    if (const auto known = check_target_format(arguments.value("f", "raw")); !known) {
      return context.fail_with(known.error());
    }
    context.print(raw_options_help(/*with_file=*/!operands.empty()));
    return kExitOk;
  }
  if (const auto options = parse_create_options(arguments.values("o")); !options) {
    return context.fail_with(options.error());
  }
  if (operands.empty()) {
    context.usage_error("Expecting image file name");
    return kExitError;
  }
  std::optional<std::uint64_t> size;
  if (operands.size() > 1) {
    const Result<std::uint64_t> parsed =
        parse_size_argument(operands[1], "image size", context.program());
    if (!parsed) return context.fail_with(parsed.error());
    size = *parsed;
  }
  if (operands.size() > 2) {
    context.usage_error(fmt::format("Unexpected argument: {}", operands[2]));
    return kExitError;
  }
  Result<Request> request = make_request(arguments, size);
  if (!request) {
    return context.fail_with(std::move(request.error()).with_context(operands[0]));
  }
  if (!arguments.has("q")) {
    context.print(formatting_line(*request));
    std::fflush(stdout);
  }
  Result<void> created = create(context, *std::move(request));
  if (created) return kExitOk;
  return context.fail_with(std::move(created.error()).with_context(operands[0]));
}

}  // namespace

const Verb kCreate{.name = "create",
                   .operands = "FILENAME [SIZE]",
                   .help = "Makes a new image",
                   .options = kOptions,
                   .run = run};

}  // namespace platter::cli
