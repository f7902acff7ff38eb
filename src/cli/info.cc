#include <set>
#include <vector>

#include <fmt/format.h>

#include "formats/block_limits.h"
#include "formats/luks/luks_image.h"
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
    {0, "limits", "", "also the limits of requests: alignments, and bounds of the file's device"},
    {'U', "force-share", "", "also where another process is writing to the image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

Task<ToldImage> read_one(const Context& context, ImageName name, OpenOptions options, bool limits) {
  const OpenedImage opened = co_await open_given_name(context, std::move(name), std::move(options));
  ToldImage told{.info = co_await opened.image->info(), .limits = std::nullopt};
  if (const auto* luks = dynamic_cast<const luks::LuksImage*>(opened.image.get())) {
    told.luks = luks->luks_info();
  }
  if (limits) {
    told.limits = co_await block_limits_of(*opened.image, told.info, opened.format_was_guessed);
  }
  co_await opened.image->close();
  co_return told;
}

struct InfoWanted {
  bool chain = false;  // also of what the image stands on
  bool limits = false;
};

Task<std::vector<ToldImage>> read_infos(const Context& context, std::string operand,
                                        OpenOptions options, InfoWanted wanted) {
  ImageName name = co_await given_name(context, operand, options);
  std::vector<ToldImage> infos;
  std::set<std::string> seen;
  for (;;) {
    if (!seen.insert(name.text()).second) {
      co_return fail(ErrorKind::corrupt_image,
                     fmt::format("Backing file '{}' creates an infinite loop.", name.text()));
    }
    infos.push_back(co_await read_one(context, name, options, wanted.limits));
    const ImageInfo& last = infos.back().info;
    if (!wanted.chain || !last.full_backing_file) co_return infos;
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
  // qemu-img's way to open for this, on which the limits depend; cache.direct=on shows the others.
  options.cache = CacheUse::buffered;
  const InfoWanted wanted{.chain = arguments.has("backing-chain"),
                          .limits = arguments.has("limits")};
  const auto infos =
      context.run(read_infos(context, arguments.positional().front(), std::move(options), wanted));
  if (!infos) return context.fail_with(infos.error());
  if (*json) {
    context.print(info_json(*infos, wanted.chain));
    return kExitOk;
  }
  std::string text;
  for (const ToldImage& told : *infos) text += (text.empty() ? "" : "\n") + info_text(told);
  context.print(text);
  return kExitOk;
}

constexpr Example kExamples[] = {
    {"info disk.qcow2", "for people"},
    {"info -U --output=json disk.qcow2", "for programs, also while a guest runs"},
    {"info --limits --image-opts driver=host_device,filename=/dev/sdb,cache.direct=on",
     "what a device wants of direct I/O"},
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
