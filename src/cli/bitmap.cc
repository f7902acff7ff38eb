#include "src/ops/bitmap.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {0, "add", "", "make the bitmap, enabled and with nothing in it"},
    {0, "remove", "", "remove it"},
    {0, "clear", "", "forget what it has recorded"},
    {0, "enable", "", "record writes from now on"},
    {0, "disable", "", "stop recording writes"},
    {0, "merge", "SOURCE", "add what the bitmap SOURCE has recorded"},
    {'b', "", "FILE", "with --merge: SOURCE is in this image"},
    {'F', "", "FMT", "its format; default: decided by its content"},
    {'g', "granularity", "SIZE", "with --add: bytes for one bit, a power of two, at least 512"},
    {'f', "", "FMT", "the image's format; default: decided by its content"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

using Kind = BitmapAction::Kind;

struct Request {
  std::string name;
  std::string format;
  std::string bitmap;
  std::optional<std::string> source_name;
  std::string source_format;
  std::vector<BitmapAction> actions;  // in the order in which they were given

  bool has(Kind kind) const {
    for (const BitmapAction& action : actions) {
      if (action.kind == kind) return true;
    }
    return false;
  }
};

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::add: return "add";
    case Kind::remove: return "remove";
    case Kind::clear: return "clear";
    case Kind::enable: return "enable";
    case Kind::disable: return "disable";
    case Kind::merge: return "merge";
  }
  return "add";
}

std::vector<BitmapAction> actions_of(const Arguments& arguments, std::uint64_t granularity) {
  std::vector<BitmapAction> actions;
  for (const Arguments::Given& given : arguments.in_order()) {
    for (const Kind kind :
         {Kind::add, Kind::remove, Kind::clear, Kind::enable, Kind::disable, Kind::merge}) {
      if (given.option != name_of(kind)) continue;
      actions.push_back({.kind = kind, .granularity = granularity, .source = given.value});
    }
  }
  return actions;
}

// Errors: invalid_argument, in qemu-img's words.
Result<void> check_combination(const Request& request, std::uint64_t granularity,
                               const Arguments& arguments) {
  const auto wrong = [](std::string_view why) {
    return fail(ErrorKind::invalid_argument, std::string(why));
  };
  if (request.actions.empty()) {
    return wrong("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
  }
  if (granularity != 0 && !request.has(Kind::add)) {
    return wrong("granularity only supported with --add");
  }
  if (arguments.has("F") && !request.source_name) return wrong("-F only supported with -b");
  if (request.source_name && !request.has(Kind::merge)) {
    return wrong("Merge bitmap source file only supported with --merge");
  }
  if (arguments.positional().size() != 2) return wrong("Expecting filename and bitmap name");
  return {};
}

// What was done before one failed stays done.
Task<void> act(Image& image, Image* source, const Request& request) {
  for (const BitmapAction& wanted : request.actions) {
    BitmapAction action = wanted;
    action.source_image = source;
    Result<void> done = co_await change_bitmap(image, request.bitmap, std::move(action)).result();
    if (done) continue;
    const std::string context =
        fmt::format("Operation {} on bitmap {} failed", name_of(wanted.kind), request.bitmap);
    co_await fail(std::move(done.error()).with_context(context));
  }
}

Task<void> act_with_source(const Context& context, Image& image, const Request& request) {
  if (!request.source_name) {
    co_await act(image, nullptr, request);
    co_return;
  }
  const OpenedImage source = co_await open_given_name(
      context, ImageName::of_user(*request.source_name),
      {.purpose = OpenPurpose::read_stable, .format = request.source_format});
  Result<void> done = co_await act(image, source.image.get(), request).result();
  Result<void> closed = co_await source.image->close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

Task<void> change(const Context& context, Request request) {
  const OpenedImage opened = co_await open_given(
      context, request.name, {.purpose = OpenPurpose::write, .format = request.format});
  Image& image = *opened.image;
  if (opened.format_was_guessed && image.format() == "raw") warn_of_guess(image.filename());
  Result<void> done = co_await act_with_source(context, image, request).result();
  Result<void> closed = co_await image.close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

int run(Context& context, const Arguments& arguments) {
  std::uint64_t granularity = 0;
  if (arguments.has("granularity")) {
    const Result<std::uint64_t> parsed =
        parse_size_argument(arguments.value("granularity"), "granularity", context.program());
    if (!parsed) return context.fail_with(parsed.error());
    granularity = *parsed;
  }
  Request request{.format = arguments.value("f"), .source_format = arguments.value("F")};
  if (arguments.has("b")) request.source_name = arguments.value("b");
  request.actions = actions_of(arguments, granularity);
  if (const auto possible = check_combination(request, granularity, arguments); !possible) {
    return context.fail_with(possible.error());
  }
  request.name = arguments.positional()[0];
  request.bitmap = arguments.positional()[1];
  const Result<void> done = context.run(change(context, std::move(request)));
  return done ? kExitOk : context.fail_with(done.error());
}

constexpr Example kExamples[] = {
    {"bitmap --add -g 64k disk.qcow2 backup-0", "record from now on which 64 KiB are written"},
    {"bitmap --merge backup-0 disk.qcow2 backup-1", "add what backup-0 has recorded to backup-1"},
};

}  // namespace

const Verb kBitmap{.name = "bitmap",
                   .operands = "FILENAME BITMAP",
                   .help = "Changes a persistent dirty bitmap",
                   .options = kOptions,
                   .run = run,
                   .description =
                       "Adds, removes, clears, enables, disables and merges persistent dirty "
                       "bitmaps of qcow2 images, by which backup programs know what was written "
                       "since. Several of these can be asked for at once; they are done in their "
                       "order, and what was done before one failed stays done.",
                   .examples = kExamples};

}  // namespace platter::cli
