#include <set>
#include <vector>

#include <fmt/format.h>

#include "src/cli/image_arguments.h"
#include "src/cli/info_text.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "format", "FMT", "the image's format; default: decided by its content"},
    {0, "output", "FORMAT", "human (default) or json"},
    {0, "backing-chain", "", "every image of the chain, this one first"},
    {'U', "force-share", "", "also where another process is writing to the image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

Task<ImageInfo> read_one(const Context& context, ImageName name, OpenOptions options) {
  const OpenedImage opened = co_await open_given_name(context, std::move(name), std::move(options));
  ImageInfo info = co_await opened.image->info();
  co_await opened.image->close();
  co_return info;
}

// The image, and with `chain` what it stands on.
Task<std::vector<ImageInfo>> read_infos(const Context& context, std::string operand,
                                        OpenOptions options, bool chain) {
  ImageName name = co_await given_name(context, operand, options);
  std::vector<ImageInfo> infos;
  std::set<std::string> seen;
  for (;;) {
    if (!seen.insert(name.text()).second) {
      co_return fail(ErrorKind::corrupt_image,
                     fmt::format("Backing file '{}' creates an infinite loop.", name.text()));
    }
    infos.push_back(co_await read_one(context, name, options));
    const ImageInfo& last = infos.back();
    if (!chain || !last.full_backing_file) co_return infos;
    name = {*last.full_backing_file, ImageName::Form::reference};
    options.format = last.backing_format.value_or("");
  }
}

int run(Context& context, const Arguments& arguments) {
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  OpenOptions options{.purpose = OpenPurpose::inspect};
  options.format = arguments.value("format");
  options.force_share = arguments.has("force-share");
  const bool chain = arguments.has("backing-chain");
  const auto infos =
      context.run(read_infos(context, arguments.positional().front(), std::move(options), chain));
  if (!infos) return context.fail_with(infos.error());
  if (*json) {
    context.print(info_json(*infos, chain));
    return kExitOk;
  }
  std::string text;
  for (const ImageInfo& info : *infos) text += (text.empty() ? "" : "\n") + info_text(info);
  context.print(text);
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"info disk.qcow2", "for people"},
    {"info -U --output=json disk.qcow2", "for programs, also while a guest runs"},
};

}  // namespace

const Verb kInfo{.name = "info",
                 .operands = "FILENAME",
                 .help = "Tells an image's format, sizes and properties",
                 .options = kOptions,
                 .run = run,
                 .description =
                     "Tells format, sizes, the names of backing and data files, snapshots, bitmaps "
                     "and other properties of an image. Nothing that the image names is opened, "
                     "but for --backing-chain, which follows backing files.",
                 .examples = kExamples};

}  // namespace platter::cli
