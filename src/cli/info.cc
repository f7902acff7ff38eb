#include <fmt/format.h>

#include <cctype>
#include <nlohmann/json.hpp>
#include <span>

#include "src/cli/image_arguments.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "format", "FMT", "the image's format; default: decided by its content"},
    {0, "output", "FORMAT", "human (default) or json"},
    {0, "backing-chain", "", "every image of the chain, this one first"},
    {'U', "force-share", "", "also where another process is writing to the image"},
};

Task<ImageInfo> read_info(std::string name, OpenOptions options) {
  const OpenedImage opened = co_await open_named(std::move(name), std::move(options));
  ImageInfo info = co_await opened.image->info();
  co_await opened.image->close();
  co_return info;
}

nlohmann::ordered_json to_json(const ImageInfo& info) {
  nlohmann::ordered_json json;
  json["virtual-size"] = info.virtual_size;
  json["filename"] = info.filename;
  if (info.cluster_size) json["cluster-size"] = *info.cluster_size;
  json["format"] = info.format;
  if (info.actual_size) json["actual-size"] = *info.actual_size;
  json["dirty-flag"] = info.dirty;
  return json;
}

// The same text as qemu-img's: ASCII alone, with capital letters in "\\u00E4".
std::string in_qemu_style(std::string json) {
  for (std::size_t at = json.find('\\'); at != std::string::npos; at = json.find('\\', at + 2)) {
    if (json[at + 1] != 'u') continue;
    for (char& digit : std::span(json).subspan(at + 2, 4)) {
      digit = static_cast<char>(std::toupper(static_cast<unsigned char>(digit)));
    }
  }
  return json;
}

std::string to_text(const ImageInfo& info) {
  std::string text = fmt::format(
      "image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n", info.filename,
      info.format, human_size(info.virtual_size), info.virtual_size,
      info.actual_size ? human_size(*info.actual_size) : "unavailable");
  if (info.cluster_size) text += fmt::format("cluster_size: {}\n", *info.cluster_size);
  return text;
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
  const Result<ImageInfo> info =
      context.run(read_info(arguments.positional().front(), std::move(options)));
  if (!info) return context.fail_with(info.error());
  if (!*json) {
    context.print(to_text(*info));
    return kExitOk;
  }
  nlohmann::ordered_json document = to_json(*info);
  if (arguments.has("backing-chain")) {
    document = nlohmann::ordered_json::array({std::move(document)});
  }
  context.print(in_qemu_style(
      document.dump(4, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n"));
  return kExitOk;
}

}  // namespace

const Verb kInfo{.name = "info",
                 .operands = "FILENAME",
                 .help = "Tells an image's format, sizes and properties",
                 .options = kOptions,
                 .run = run};

}  // namespace platter::cli
