#include "src/ops/checksum.h"

#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "crypto/digest.h"
#include "src/cli/image_arguments.h"
#include "src/cli/json_progress.h"
#include "src/cli/json_text.h"
#include "src/cli/progress_bar.h"
#include "src/cli/verb.h"
#include "src/ops/snapshot.h"

namespace platter::cli {
namespace {

constexpr Option kOwnOptions[] = {
    {'h', "help", "", "show this help"},
    {'a', "algorithm", "ALG",
     "sha256 (default), sha512, md5, ...; with -tree behind: blocks in parallel"},
    {'f', "format", "FMT", "the images' format; default: decided by their content"},
    {'l', "", "SNAPSHOT", "what the image held when the snapshot was taken"},
    {0, "output", "FORMAT", "human (default: as sha256sum prints it) or json"},
    {'p', "", "", "show progress"},
    {'T', "", "CACHE", "cache mode: none, writeback, ...; default: direct I/O if possible"},
    {'U', "force-share", "", "also where another process is writing to an image"},
};
constexpr auto kOptions =
    join_options(kOwnOptions, kProgressOptions, kImageOptsOption, kObjectOption, kPolicyOptions);

struct Summed {
  std::string filename;
  std::string format;
  std::uint64_t virtual_size = 0;  // bytes
  std::string digest;
};

Task<Summed> checksum_named(const Context& context, std::string name, OpenOptions open,
                            std::optional<SnapshotKey> snapshot, ChecksumOptions options) {
  const OpenedImage opened = co_await open_given(context, name, std::move(open));
  Image& image = *opened.image;
  if (snapshot) {
    Result<void> shown = co_await show_snapshot(image, *snapshot).result();
    if (!shown) {
      co_return fail(
          std::move(shown.error()).with_context("'" + name + "': Failed to load snapshot"));
    }
  }
  Summed summed{.filename = name,
                .format = std::string(image.format()),
                .virtual_size = image.virtual_size(),
                .digest = co_await checksum_image(image, std::move(options))};
  co_await image.close();
  co_return summed;
}

// As sha256sum prints it, with its way to write names that break lines.
std::string digest_line(const Summed& summed) {
  std::string name;
  for (const char character : summed.filename) {
    switch (character) {
      case '\\': name += "\\\\"; break;
      case '\n': name += "\\n"; break;
      case '\r': name += "\\r"; break;
      default: name += character;
    }
  }
  const char* const mark = name == summed.filename ? "" : "\\";
  return fmt::format("{}{}  {}\n", mark, summed.digest, name);
}

std::string all_json(const std::vector<Summed>& all, const std::string& algorithm) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Summed& summed : all) {
    nlohmann::ordered_json entry;
    entry["filename"] = summed.filename;
    entry["format"] = summed.format;
    entry["virtual-size"] = summed.virtual_size;
    entry["algorithm"] = algorithm;
    entry["digest"] = summed.digest;
    json.push_back(std::move(entry));
  }
  return json_text(json);
}

// What all images are read with.
struct Request {
  OpenOptions open;
  std::optional<SnapshotKey> snapshot;
  ChecksumAlgorithm algorithm;
  bool json = false;
};

// As sha256sum: one that fails does not keep the others from being told.
int checksum_all(Context& context, const Arguments& arguments, const std::string& algorithm,
                 const Request& request) {
  std::vector<Summed> all;
  int code = kExitOk;
  for (const std::string& name : arguments.positional()) {
    ProgressBar bar(context, arguments.has("p"), 2.0);
    ChecksumOptions options{
        .algorithm = request.algorithm, .cancel = &context.cancel(), .progress = &bar.progress()};
    Result<Summed> summed = context.run(
        checksum_named(context, name, request.open, request.snapshot, std::move(options)));
    if (summed) bar.complete();
    bar.end();
    if (!summed) {
      code = context.fail_with(summed.error());
      if (summed.error().kind() == ErrorKind::cancelled) return code;
      continue;
    }
    if (!request.json) context.print(digest_line(*summed));
    all.push_back(*std::move(summed));
  }
  if (request.json) context.print(all_json(all, algorithm));
  return code;
}

int run(Context& context, const Arguments& arguments) {
  Request request;
  const Result<bool> json = wants_json(arguments);
  if (!json) return context.fail_with(json.error());
  request.json = *json;
  const std::string name = arguments.value("algorithm", "sha256");
  const Result<ChecksumAlgorithm> algorithm = parse_checksum_algorithm(name);
  if (!algorithm) {
    context.error(algorithm.error());
    context.error(fmt::format("Supported: {}; each also with -tree behind",
                              fmt::join(Digest::algorithms(), " ")));
    return kExitError;
  }
  request.algorithm = *algorithm;
  const std::string cache_name = arguments.value("T");
  const std::optional<CacheMode> cache =
      arguments.has("T") ? parse_cache_mode(cache_name) : CacheMode();
  if (!cache) {
    context.error(fmt::format("Invalid source cache option: {}", cache_name));
    return kExitError;
  }
  if (arguments.positional().empty()) {
    context.usage_error("Expecting image file names");
    return kExitError;
  }
  if (arguments.has("l")) {
    Result<SnapshotKey> key = parse_snapshot(arguments.value("l"), context);
    if (!key) return context.fail_with(key.error());
    request.snapshot = *std::move(key);
  }
  request.open = {.purpose = OpenPurpose::read_stable,
                  .format = arguments.value("format"),
                  .cache = cache->use,
                  .force_share = arguments.has("force-share")};
  return checksum_all(context, arguments, name, request);
}

constexpr Example kExamples[] = {
    {"checksum disk.qcow2 disk.raw", "do both hold the same?"},
    {"checksum -a sha512-tree -p disk.qcow2", "faster, by several threads"},
};

}  // namespace

const Verb kChecksum{.name = "checksum",
                     .operands = "FILENAME...",
                     .help = "Prints digests of what images show their guests, whatever the format",
                     .options = kOptions,
                     .run = run,
                     .description =
                         "Prints the digest of what images show their guests: equal for "
                         "equal contents, whatever their formats, and what sha256sum(1) and "
                         "its like print of a raw image. Holes are not read. An algorithm "
                         "with -tree behind digests the digests of blocks, which are "
                         "computed in parallel.",
                     .examples = kExamples};

}  // namespace platter::cli
