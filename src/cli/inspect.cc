#include "formats/inspect/inspect.h"

#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "formats/reference.h"
#include "io/direct_file.h"
#include "src/cli/image_arguments.h"
#include "src/cli/json_text.h"
#include "src/cli/size.h"
#include "src/cli/verb.h"

namespace platter::cli {
namespace {

constexpr Option kOptions[] = {
    {'h', "help", "", "show this help"},
    {'f', "format", "FMT", "the format that the image is said to have; another one is unsafe"},
    {0, "max-virtual-size", "SIZE", "a larger disk is unsafe; default: no limit"},
    {0, "output", "FORMAT", "human (default) or json"},
    {'q', "", "", "print nothing but errors: the exit code tells"},
};

// docs/inspect.md
constexpr int kExitUnsafe = 2;

std::string inspection_text(const std::string& name, const Inspection& inspection) {
  std::string text = fmt::format("image: {}\nformat: {}\n", name,
                                 inspection.format.empty() ? "unknown" : inspection.format);
  if (inspection.matches.size() > 1) {
    text += fmt::format("marks of: {}\n", fmt::join(inspection.matches, ", "));
  }
  if (inspection.virtual_size) {
    text += fmt::format("virtual size: {} ({} bytes)\n", human_size(*inspection.virtual_size),
                        *inspection.virtual_size);
  }
  text += fmt::format("file size: {} ({} bytes)\n", human_size(inspection.file_size),
                      inspection.file_size);
  for (const Finding& finding : inspection.findings) {
    text += fmt::format("{}: {}: {}", finding.unsafe ? "unsafe" : "note", finding.code,
                        finding.message);
    if (finding.offset) text += fmt::format(" (offset {:#x})", *finding.offset);
    text += '\n';
  }
  return text + fmt::format("safe: {}\n", inspection.safe() ? "yes" : "no");
}

// The schema of docs/inspect.md.
std::string inspection_json(const std::string& name, const std::string& declared,
                            const Inspection& inspection) {
  nlohmann::ordered_json json;
  json["filename"] = name;
  json["format"] = nullptr;
  if (!inspection.format.empty()) json["format"] = inspection.format;
  json["declared-format"] = nullptr;
  if (!declared.empty()) json["declared-format"] = declared;
  json["matches"] = inspection.matches;
  json["file-size"] = inspection.file_size;
  json["virtual-size"] = nullptr;
  if (inspection.virtual_size) json["virtual-size"] = *inspection.virtual_size;
  json["safe"] = inspection.safe();
  json["findings"] = nlohmann::ordered_json::array();
  for (const Finding& finding : inspection.findings) {
    nlohmann::ordered_json entry;
    entry["code"] = finding.code;
    entry["severity"] = finding.unsafe ? "unsafe" : "note";
    entry["message"] = finding.message;
    entry["offset"] = nullptr;
    if (finding.offset) entry["offset"] = *finding.offset;
    json["findings"].push_back(std::move(entry));
  }
  return json_text(json);
}

// No lock: whoever brought the image uses it no longer, and nothing is written.
Task<Inspection> inspect_named(std::string name, InspectOptions options) {
  const std::string context = "Could not inspect '" + name + "'";
  std::string path = co_await plain_path(std::move(name));
  const std::unique_ptr<DirectFile> file =
      co_await DirectFile::open(std::move(path), {.cache = CacheUse::buffered});
  Result<Inspection> inspection = co_await inspect_file(*file, std::move(options)).result();
  Result<void> closed = co_await file->close().result();
  if (!inspection) co_return fail(std::move(inspection.error()).with_context(context));
  co_await std::move(closed);
  co_return std::move(*inspection);
}

int run(Context& context, const Arguments& arguments) {
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  InspectOptions options{.declared = arguments.value("format"), .cancel = &context.cancel()};
  if (arguments.has("max-virtual-size")) {
    const Result<std::uint64_t> size = parse_size_argument(
        arguments.value("max-virtual-size"), "maximum virtual size", context.program());
    if (!size) return context.fail_with(size.error());
    options.virtual_size_max = *size;
  }
  if (!options.declared.empty() && !is_inspected_format(options.declared)) {
    context.error(fmt::format("Unknown format '{}'", options.declared));
    return kExitError;
  }
  if (arguments.positional().size() != 1) {
    context.usage_error("Expecting one image file name");
    return kExitError;
  }
  const std::string& name = arguments.positional().front();
  const std::string declared = options.declared;
  const Result<Inspection> inspection = context.run(inspect_named(name, std::move(options)));
  if (!inspection) return context.fail_with(inspection.error());
  if (!arguments.has("q")) {
    context.print(*json ? inspection_json(name, declared, *inspection)
                        : inspection_text(name, *inspection));
  }
  return inspection->safe() ? kExitOk : kExitUnsafe;
}

constexpr Example kExamples[] = {
    {"inspect -f qcow2 upload.img", "is it qcow2, and safe?"},
    {"inspect --output=json upload.img", "the same for a program"},
};
constexpr ExitCode kExitCodes[] = {
    {kExitOk, "the image is safe"},
    {kExitError, "it could not be inspected, or the command line is wrong"},
    {kExitUnsafe, "the image is unsafe"},
};

}  // namespace

const Verb kInspect{.name = "inspect",
                    .operands = "FILENAME",
                    .help = "Tells what an image from elsewhere is, and whether it is safe to use",
                    .options = kOptions,
                    .run = run,
                    .description =
                        "Decides by content what an image from elsewhere is, and tells what "
                        "makes it unsafe to use: marks of several formats, a format other "
                        "than the one it is said to have, references to other files, "
                        "features that nobody here knows. It opens nothing but the file "
                        "itself and reads at most 8 MiB.",
                    .exit_codes = kExitCodes,
                    .examples = kExamples};

}  // namespace platter::cli
