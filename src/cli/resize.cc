#include <fmt/format.h>

#include "io/bytes.h"
#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "", "FMT", "the image's format; default: decided by its content"},
    {'q', "", "", "print nothing but errors"},
    {0, "preallocation", "off|metadata|falloc|full", "reserve what is added (default: off)"},
    {0, "shrink", "", "allow a smaller size, which cuts data off"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

// "+1G", "-512M" or "20G".
struct NewSize {
  int sign = 0;  // 0: absolute
  std::uint64_t bytes = 0;
};

Result<NewSize> parse_new_size(std::string_view text) {
  NewSize size;
  if (text.starts_with('+')) size.sign = 1;
  if (text.starts_with('-')) size.sign = -1;
  const Result<std::uint64_t> bytes =
      parse_size_option(size.sign == 0 ? text : text.substr(1), "size");
  if (!bytes) return fail(bytes.error().clone());
  size.bytes = *bytes;
  return size;
}

Result<std::uint64_t> total_size(const NewSize& size, std::uint64_t current) {
  std::uint64_t total = size.bytes;
  bool positive = true;
  if (size.sign > 0) total = checked_add(current, size.bytes).value_or(kMaxFileSize + 1);
  if (size.sign < 0) {
    positive = size.bytes < current;
    total = positive ? current - size.bytes : 0;
  }
  if (positive && total > 0 && total <= kMaxFileSize) return total;
  return fail(ErrorKind::invalid_argument, "New image size must be positive");
}

struct Request {
  std::string name;
  std::string format;
  NewSize size;
  Preallocation preallocation = Preallocation::off;
  bool shrink = false;
};

Task<void> resize_image(Context& context, Request request) {
  const OpenedImage opened = co_await open_given(
      context, request.name, {.purpose = OpenPurpose::resize, .format = request.format});
  if (opened.format_was_guessed && opened.image->format() == "raw")
    warn_of_guess(opened.image->filename());
  Image& image = *opened.image;
  const std::uint64_t current = image.virtual_size();
  const std::uint64_t total = co_await total_size(request.size, current);
  if (total <= current && request.preallocation != Preallocation::off) {
    co_await fail(ErrorKind::invalid_argument, "Preallocation can only be used for growing images");
  }
  if (total < current && !request.shrink) {
    context.error("Use the --shrink option to perform a shrink operation.");
    co_await fail(ErrorKind::invalid_argument,
                  "warning: Shrinking an image will delete all data beyond the shrunken image's "
                  "end. Before performing such an operation, make sure there is no important "
                  "data there.");
  }
  co_await image.resize(total,
                        {.preallocation = request.preallocation, .cancel = &context.cancel()});
  co_await image.flush();
  co_await image.close();
}

int run(Context& context, const Arguments& arguments) {
  Request request;
  request.format = arguments.value("f");
  request.shrink = arguments.has("shrink");
  const Result<Preallocation> mode = parse_preallocation(arguments.value("preallocation", "off"));
  if (!mode) return context.fail_with(mode.error());
  request.preallocation = *mode;
  if (arguments.positional().size() != 2) {
    context.usage_error("Expecting image file name and size");
    return kExitError;
  }
  request.name = arguments.positional()[0];
  const Result<NewSize> size = parse_new_size(arguments.positional()[1]);
  if (!size) return context.fail_with(size.error());
  request.size = *size;
  const Result<void> done = context.run(resize_image(context, std::move(request)));
  if (!done) return context.fail_with(done.error());
  if (!arguments.has("q")) context.print("Image resized.\n");
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"resize disk.qcow2 +10G", "10 GiB more"},
    {"resize --shrink disk.qcow2 8G", "cut off all that is past 8 GiB"},
};

}  // namespace

const Verb kResize{.name = "resize",
                   .operands = "FILENAME [+|-]SIZE",
                   .help = "Changes an image's virtual size",
                   .options = kOptions,
                   .run = run,
                   .last_may_be_negative = true,
                   .description =
                       "Makes the disk that an image shows its guest larger or smaller, to a size "
                       "or by one. Partitions and filesystems on it stay as they are: shrink them "
                       "first, extend them afterwards. A smaller size needs --shrink.",
                   .examples = kExamples};

}  // namespace platter::cli
