#include "src/provision/image_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "formats/open.h"
#include "io/ring.h"
#include "io/unique_fd.h"
#include "src/ops/convert.h"

namespace platter::provision {
namespace {

Task<void> grow_open(Image& image, std::uint64_t size, const CancelToken* cancel) {
  const ResizeOptions options{.cancel = cancel};
  co_await image.resize(size, options);
  co_await image.finish();
}

}  // namespace

OpenPolicy policy_below(PathLookup lookup) {
  OpenPolicy policy;
  policy.formats = {"raw", "qcow2"};
  policy.follow_references = true;
  policy.lookup = std::move(lookup);
  return policy;
}

Task<ImageInfo> look_at_image(std::string path, std::string format, PathLookup lookup) {
  const OpenOptions open{.purpose = OpenPurpose::inspect, .format = std::move(format)};
  const OpenedImage opened =
      co_await open_image(std::move(path), open, policy_below(std::move(lookup)));
  Result<ImageInfo> info = co_await opened.image->info().result();
  Result<void> closed = co_await opened.image->close().result();
  if (!info) co_return fail(std::move(info.error()));
  co_await std::move(closed);
  co_return std::move(*info);
}

Task<std::string> detect_format(std::string path, PathLookup lookup) {
  const OpenOptions open{.purpose = OpenPurpose::inspect};
  const OpenedFile opened =
      co_await open_image_file(std::move(path), open, policy_below(std::move(lookup)));
  co_await opened.file->close();
  co_return opened.format;
}

Task<bool> grow_image(std::string path, std::string format, std::uint64_t size, PathLookup lookup,
                      const CancelToken* cancel) {
  const ImageInfo info = co_await look_at_image(path, format, lookup);
  if (info.virtual_size >= size) co_return false;
  const OpenOptions open{.purpose = OpenPurpose::resize, .format = std::move(format)};
  const OpenedImage opened =
      co_await open_image(std::move(path), open, policy_below(std::move(lookup)));
  Result<void> grown = co_await grow_open(*opened.image, size, cancel).result();
  Result<void> closed = co_await opened.image->close().result();
  if (!grown) co_return fail(std::move(grown.error()));
  co_await std::move(closed);
  co_return true;
}

Task<void> reserve_space(std::string path, std::uint64_t size, PathLookup lookup) {
  const UniqueFd place = co_await lookup(path);
  const std::string reopen = fmt::format("/proc/self/fd/{}", place.get());
  const UniqueFd fd(::open(reopen.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) co_await fail_errno(errno, "open", path);
  const int done =
      co_await Ring::current().fallocate(RingFile{.fd = fd.get()}, FALLOC_FL_KEEP_SIZE, 0, size);
  if (done < 0 && done != -EOPNOTSUPP) co_await fail_errno(-done, "reserve space for", path);
}

Task<void> extract_image(std::string path, std::string format, OpenPolicy policy,
                         ExtractRequest request) {
  ConvertOptions options;
  options.sources.emplace_back(std::move(path));
  options.source_format = std::move(format);
  options.policy = std::move(policy);
  options.target = std::move(request.target);
  options.target_format = std::move(request.format);
  options.compress = request.compress;
  options.copy.cancel = request.cancel;
  options.copy.progress = request.progress;
  co_await convert(std::move(options));
}

}  // namespace platter::provision
