#include "formats/open.h"

#include <algorithm>
#include <utility>

#include "formats/probe.h"
#include "formats/raw/raw_image.h"
#include "io/bytes.h"

namespace platter {
namespace {

constexpr ImageUse kWriteAndResize = ImageUse::write | ImageUse::resize;

ImageLockRequest locks_for(OpenPurpose purpose) {
  using enum ImageUse;
  switch (purpose) {
    case OpenPurpose::inspect: return {};
    case OpenPurpose::read: return {.used = consistent_read};
    case OpenPurpose::read_stable: return {.used = consistent_read, .unshared = kWriteAndResize};
    case OpenPurpose::write: return {.used = consistent_read | write};
    case OpenPurpose::write_whole:
      return {.used = consistent_read | write, .unshared = kWriteAndResize};
    case OpenPurpose::resize: return {.used = consistent_read | write | resize};
  }
  return {};
}

bool writes(OpenPurpose purpose) {
  return purpose == OpenPurpose::write || purpose == OpenPurpose::write_whole ||
         purpose == OpenPurpose::resize;
}

Task<std::string> probe(File& file) {
  Buffer head = co_await Ring::current().buffers().acquire(BufferPool::kAlignment);
  const std::size_t count = co_await file.read(0, head.bytes());
  co_return std::string(probe_format(head.first(std::min(count, kProbeSize))));
}

// A name in the style of "protocol:rest" means something else to the tools that platter replaces:
// only what is plainly a path is opened as one.
Result<std::string> plain_path(const std::string& filename) {
  constexpr std::string_view kFile = "file:";
  if (filename.starts_with(kFile)) return filename.substr(kFile.size());
  const std::size_t special = filename.find_first_of(":/");
  if (special == std::string::npos || filename[special] != ':') return filename;
  return fail(ErrorKind::unsupported,
              "Unknown protocol '" + filename.substr(0, special) + "'");
}

Result<void> check_format(const std::string& format, bool guessed, const OpenPolicy& policy) {
  if (format != "raw" && guessed) {
    return fail(ErrorKind::unknown_format,
                "The image looks like format '" + format +
                    "', which is not supported; only with an explicit format 'raw' are its bytes "
                    "taken as they are");
  }
  if (format != "raw") return fail(ErrorKind::unknown_format, "Unknown driver '" + format + "'");
  if (policy.allows_format(format)) return {};
  return fail(ErrorKind::refused_by_policy, "Format '" + format + "' is not allowed here");
}

}  // namespace

bool OpenPolicy::allows_format(const std::string& format) const {
  return formats.empty() || std::ranges::find(formats, format) != formats.end();
}

FileOptions file_options(const OpenOptions& options) {
  FileOptions file{.access = writes(options.purpose) ? Access::read_write : Access::read_only,
                   .cache = options.cache,
                   .durability = options.durability,
                   .lock = std::nullopt};
  if (!options.force_share) file.lock = locks_for(options.purpose);
  return file;
}

Task<OpenedImage> open_image(std::string filename, OpenOptions options, OpenPolicy policy) {
  // An explicit format that this build lacks is known before anything is opened.
  if (!options.format.empty()) co_await check_format(options.format, /*guessed=*/false, policy);
  std::string path = co_await plain_path(filename);
  std::unique_ptr<DirectFile> file =
      co_await DirectFile::open(std::move(path), file_options(options));
  OpenedImage opened;
  opened.format_was_guessed = options.format.empty();
  if (opened.format_was_guessed) {
    const std::string format = co_await probe(*file);
    co_await check_format(format, /*guessed=*/true, policy);
  }
  opened.image = co_await RawImage::open(std::move(file), std::move(filename));
  co_return opened;
}

}  // namespace platter
