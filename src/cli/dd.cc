#include <limits>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "src/cli/image_arguments.h"
#include "src/cli/progress_bar.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"
#include "src/ops/convert.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "the input's format; default: decided by its content"},
    {'O', "", "FMT", "the output's format (default: raw)"},
    {'U', "force-share", "", "also where another process is writing to the input"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

// What the words "name=value" say.
struct Operands {
  std::string input;
  std::string output;
  bool has_input = false;
  bool has_output = false;
  BlockWindow window;
};

Result<void> read_size(std::uint64_t& into, std::string_view name, const std::string& value,
                       const Context& context) {
  const Result<std::uint64_t> size = parse_size_argument(value, name, context.program());
  if (!size) return fail(size.error().clone());
  into = *size;
  return {};
}

Result<void> read_block_size(Operands& operands, const std::string& value, const Context& context) {
  constexpr std::uint64_t kMax = std::numeric_limits<int>::max();
  const Result<std::uint64_t> size = parse_size_argument(value, "bs", context.program());
  const bool known = size || size.error().kind() == ErrorKind::too_large;
  if (!known) return fail(size.error().clone());
  if (!size || *size < 1 || *size > kMax) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Invalid bs specified. Must be between 1 and {}.", kMax));
  }
  operands.window.block_size = *size;
  return {};
}

Result<void> read_operand(Operands& operands, const std::string& word, const Context& context) {
  const std::size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (equals != std::string::npos) {
    if (name == "bs") return read_block_size(operands, value, context);
    if (name == "skip") return read_size(operands.window.skip, name, value, context);
    if (name == "count") {
      return read_size(operands.window.count.emplace(), name, value, context);
    }
    if (name == "if" || name == "of") {
      (name == "if" ? operands.input : operands.output) = value;
      (name == "if" ? operands.has_input : operands.has_output) = true;
      return {};
    }
  }
  return fail(ErrorKind::invalid_argument, fmt::format("unrecognized operand {}", name));
}

int run(Context& context, const Arguments& arguments) {
  Operands operands;
  for (const std::string& word : arguments.positional()) {
    if (const auto read = read_operand(operands, word, context); !read) {
      return context.fail_with(read.error());
    }
  }
  if (!operands.has_input || !operands.has_output) {
    context.error("Must specify both input and output files");
    return kExitError;
  }
  ProgressBar bar(context, /*shown=*/false, 1.0);  // for SIGUSR1
  ConvertOptions options;
  options.source_format = arguments.value("f");
  options.force_share = arguments.has("force-share");
  const Result<ImageName> source =
      given_name(context, operands.input,
                 {.format = options.source_format, .force_share = options.force_share});
  if (!source) return context.fail_with(source.error());
  options.sources = {*source};
  options.window = operands.window;
  options.target = operands.output;
  options.target_format = arguments.value("O", "raw");
  options.create_words = "error while creating output image";
  options.copy.cancel = &context.cancel();
  options.copy.progress = &bar.progress();
  options.policy = context.images().policy;
  const Result<ConvertResult> result = context.run(convert(std::move(options)));
  bar.end();
  if (!result) return context.fail_with(result.error());
  if (result->skips_too_much) {
    context.error(fmt::format("{}: cannot skip to specified offset", operands.input));
  }
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"dd if=disk.qcow2 of=boot.raw bs=1M count=1", "the first megabyte, as a raw image"},
};

}  // namespace

const Verb kDd{
    .name = "dd",
    .operands = "if=INPUT of=OUTPUT [bs=SIZE] [count=BLOCKS] [skip=BLOCKS]",
    .help = "Copies blocks of an image into a new one (default: all of them, of 512 bytes)",
    .options = kOptions,
    .run = run,
    .description =
        "Copies blocks of what an image shows its guest into a new image, "
        "as dd(1) does with files: skip blocks of bs bytes of the input are "
        "left out, and count of them are copied.",
    .examples = kExamples};

}  // namespace platter::cli
