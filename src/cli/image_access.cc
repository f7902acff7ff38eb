#include "src/cli/image_access.h"

#include <algorithm>

#include <fmt/format.h>

#include "io/bytes.h"
#include "src/cli/option_values.h"
#include "src/cli/size.h"

namespace platter::cli {
namespace {

// Less, and nothing could be done with an image of any size.
constexpr std::uint64_t kMemoryMin = 1 * kMiB;
constexpr std::uint64_t kMemoryMax = 1024 * kGiB;

Result<std::vector<std::string>> parse_formats(const std::string& list) {
  std::vector<std::string> formats;
  for (std::size_t begin = 0; begin <= list.size();) {
    const std::size_t end = std::min(list.find(',', begin), list.size());
    std::string format = list.substr(begin, end - begin);
    if (std::ranges::find(format_names(), format) == format_names().end()) {
      return fail(ErrorKind::invalid_argument,
                  fmt::format("--formats: '{}' is no format that images can have", format));
    }
    formats.push_back(std::move(format));
    begin = end + 1;
  }
  return formats;
}

Result<std::uint64_t> parse_memory(const std::string& text) {
  const Result<std::uint64_t> size = parse_size(text);
  if (size && *size >= kMemoryMin && *size <= kMemoryMax) return *size;
  return fail(ErrorKind::invalid_argument,
              fmt::format("--max-memory: '{}' is no size from 1M to 1T", text));
}

}  // namespace

Result<ImageAccess> parse_image_access(const Arguments& arguments) {
  ImageAccess access;
  Result<Objects> objects = make_objects(arguments.values("object"));
  if (!objects) return fail(std::move(objects.error()));
  access.objects = *std::move(objects);
  access.policy.secrets = access.objects.secrets.get();
  access.by_options = arguments.has("image-opts");
  OpenPolicy& policy = access.policy;
  policy.follow_references = !arguments.has("no-backing");
  policy.reference_folders = arguments.values("backing-under");
  if (arguments.has("formats")) {
    Result<std::vector<std::string>> formats = parse_formats(arguments.value("formats"));
    if (!formats) return fail(std::move(formats.error()));
    policy.formats = *std::move(formats);
  }
  if (arguments.has("max-memory")) {
    const Result<std::uint64_t> memory = parse_memory(arguments.value("max-memory"));
    if (!memory) return fail(memory.error().clone());
    policy.memory_max = *memory;
    access.memory_max = *memory;
  }
  return access;
}

}  // namespace platter::cli
