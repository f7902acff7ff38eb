#include "formats/open.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include "formats/probe.h"
#include "formats/qcow2/qcow2_image.h"
#include "formats/raw/raw_image.h"
#include "formats/reference.h"
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

// A qcow2 image grows when it is written, and nobody may write to one that is read.
ImageLockRequest qcow2_locks_for(bool writes) {
  using enum ImageUse;
  if (writes) return {.used = consistent_read | write | resize, .unshared = kWriteAndResize};
  return {.used = consistent_read, .unshared = kWriteAndResize};
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

Result<void> check_format(const std::string& format, bool guessed, const OpenPolicy& policy) {
  const bool known = format == "raw" || format == "qcow2";
  if (!known && guessed) {
    return fail(ErrorKind::unknown_format,
                "The image looks like format '" + format +
                    "', which is not supported; only with an explicit format 'raw' are its bytes "
                    "taken as they are");
  }
  if (!known) return fail(ErrorKind::unknown_format, "Unknown driver '" + format + "'");
  if (policy.allows_format(format)) return {};
  return fail(ErrorKind::refused_by_policy, "Format '" + format + "' is not allowed here");
}

FileId id_of(const struct stat& status) {
  if (S_ISBLK(status.st_mode)) return {0, status.st_rdev};
  return {status.st_dev, status.st_ino};
}

// Where an O_PATH descriptor really leads.
Result<std::string> real_path(int path_fd, const std::string& name) {
  const std::string link = "/proc/self/fd/" + std::to_string(path_fd);
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink(link.c_str(), target.data(), target.size());
  if (length < 0) return fail_errno(errno, "resolve", name);
  return std::string(target.data(), static_cast<std::size_t>(length));
}

bool lies_below(const std::string& path, const std::string& folder) {
  std::array<char, PATH_MAX> resolved{};
  if (::realpath(folder.c_str(), resolved.data()) == nullptr) return false;
  std::string prefix = resolved.data();
  if (!prefix.ends_with('/')) prefix += '/';
  return path.starts_with(prefix);
}

// An image of a backing chain.
struct Layer {
  std::size_t depth = 0;  // 0: the first one
  bool writable = false;
};

// Opens an image and what it names, as far as the policy goes, each file once.
class Opener {
 public:
  Opener(OpenOptions options, OpenPolicy policy)
      : options_(std::move(options)), policy_(std::move(policy)) {}

  Task<OpenedImage> open(std::string filename);

 private:
  Task<std::unique_ptr<DirectFile>> open_file(std::string name, FileOptions file, bool referenced);
  Task<std::unique_ptr<Image>> open_layer(std::string filename, std::string format, Layer layer,
                                          bool& guessed);
  Task<std::unique_ptr<Image>> open_qcow2(std::unique_ptr<DirectFile> file, std::string filename,
                                          Layer layer);
  Task<std::unique_ptr<Image>> open_backing(const qcow2::Qcow2Image& image, std::size_t depth);
  Task<std::unique_ptr<File>> open_data_file(const qcow2::Qcow2Image& image, Layer layer);
  FileOptions options_of(Layer layer) const;
  bool opens_for_writing(const std::string& image, const std::string& backing);
  Result<void> approve(int path_fd, const std::string& name, bool referenced);
  Result<void> check_may_follow(const std::string& image, const std::string& name) const;

  OpenOptions options_;
  OpenPolicy policy_;
  std::vector<FileId> opened_;
  bool has_writable_backing_ = false;
  std::string guessed_backing_;
};

FileOptions Opener::options_of(Layer layer) const {
  FileOptions options = file_options(options_);
  if (layer.depth == 0) return options;
  options.access = layer.writable ? Access::read_write : Access::read_only;
  // Nobody writes to a backing file of this chain meanwhile.
  if (options.lock) options.lock = qcow2_locks_for(layer.writable);
  return options;
}

bool Opener::opens_for_writing(const std::string& image, const std::string& backing) {
  if (!options_.writable_backing || has_writable_backing_) return false;
  const std::optional<std::string>& name = options_.writable_backing->name;
  has_writable_backing_ = !name || means_file(image, *name, backing);
  return has_writable_backing_;
}

// Looks at what a name leads to before it is opened for I/O.
Result<void> Opener::approve(int path_fd, const std::string& name, bool referenced) {
  struct stat status{};
  if (::fstat(path_fd, &status) != 0) return fail_errno(errno, "stat", name);
  const FileId id = id_of(status);
  if (std::ranges::find(opened_, id) != opened_.end()) {
    return fail(ErrorKind::corrupt_image, "'" + name + "' is in the image's chain already");
  }
  opened_.push_back(id);
  if (!referenced || policy_.reference_folders.empty()) return {};
  const Result<std::string> path = real_path(path_fd, name);
  if (!path) return fail(path.error().clone());
  const bool below = std::ranges::any_of(policy_.reference_folders, [&](const std::string& folder) {
    return lies_below(*path, folder);
  });
  if (below) return {};
  return fail(ErrorKind::refused_by_policy,
              "'" + name + "' lies outside of the folders that an image may refer to");
}

Result<void> Opener::check_may_follow(const std::string& image, const std::string& name) const {
  if (policy_.follow_references) return {};
  return fail(ErrorKind::refused_by_policy,
              "'" + image + "' refers to '" + name + "', and references are not followed here");
}

Task<std::unique_ptr<DirectFile>> Opener::open_file(std::string name, FileOptions file,
                                                    bool referenced) {
  file.approve = [this, name, referenced](int path_fd) {
    return approve(path_fd, name, referenced);
  };
  co_return co_await DirectFile::open(std::move(name), std::move(file));
}

Task<OpenedImage> Opener::open(std::string filename) {
  OpenedImage opened;
  opened.image = co_await open_layer(std::move(filename), options_.format,
                                     {.depth = 0, .writable = writes(options_.purpose)},
                                     opened.format_was_guessed);
  opened.guessed_backing = std::move(guessed_backing_);
  co_return opened;
}

Task<std::unique_ptr<Image>> Opener::open_layer(std::string filename, std::string format,
                                                Layer layer, bool& guessed) {
  // An explicit format that this build lacks is known before anything is opened.
  guessed = format.empty();
  if (!guessed) co_await check_format(format, /*guessed=*/false, policy_);
  filename = co_await plain_path(std::move(filename));
  if (filename.empty()) {
    co_return fail(ErrorKind::invalid_argument, "The 'file' block driver requires a file name");
  }
  std::unique_ptr<DirectFile> file =
      co_await open_file(filename, options_of(layer), /*referenced=*/layer.depth > 0);
  if (guessed) {
    format = co_await probe(*file);
    co_await check_format(format, /*guessed=*/true, policy_);
  }
  if (format == "qcow2") {
    co_return co_await open_qcow2(std::move(file), std::move(filename), layer);
  }
  co_return co_await RawImage::open(std::move(file), std::move(filename));
}

Task<std::unique_ptr<Image>> Opener::open_qcow2(std::unique_ptr<DirectFile> file,
                                                std::string filename, Layer layer) {
  if (!options_.force_share && options_.purpose != OpenPurpose::inspect) {
    co_await file->lock(qcow2_locks_for(layer.writable));
  }
  auto image =
      co_await qcow2::Qcow2Image::open(std::move(file), std::move(filename), policy_.memory_max);
  image->set_discard_no_unref(options_.discard_no_unref && layer.depth == 0);
  // Looking at metadata opens nothing else.
  if (options_.purpose == OpenPurpose::inspect) co_return image;
  std::unique_ptr<File> data_file = co_await open_data_file(*image, layer);
  std::unique_ptr<Image> backing;
  if (!options_.without_backing) backing = co_await open_backing(*image, layer.depth);
  co_await image->connect(std::move(backing), std::move(data_file), layer.writable);
  co_return image;
}

Task<std::unique_ptr<File>> Opener::open_data_file(const qcow2::Qcow2Image& image, Layer layer) {
  const qcow2::Header& header = image.header();
  if (!header.has_data_file()) co_return nullptr;
  if (!header.data_file) {
    co_return fail(ErrorKind::corrupt_image, "'data-file' is required for this image");
  }
  co_await check_may_follow(image.filename(), *header.data_file);
  FileOptions options = options_of(layer);
  std::string path = co_await plain_path(referenced_path(image.filename(), *header.data_file));
  co_return co_await open_file(std::move(path), std::move(options), /*referenced=*/true);
}

Task<std::unique_ptr<Image>> Opener::open_backing(const qcow2::Qcow2Image& image,
                                                  std::size_t depth) {
  const qcow2::Header& header = image.header();
  if (!header.backing_file) co_return nullptr;
  co_await check_may_follow(image.filename(), *header.backing_file);
  if (depth + 1 >= policy_.chain_length_max) {
    co_return fail(ErrorKind::too_large, "'" + image.filename() +
                                             "': the backing chain is longer " + "than " +
                                             std::to_string(policy_.chain_length_max) + " images");
  }
  bool guessed = false;
  std::string path = referenced_path(image.filename(), *header.backing_file);
  const Layer layer{.depth = depth + 1, .writable = opens_for_writing(image.filename(), path)};
  Result<std::unique_ptr<Image>> backing =
      co_await open_layer(std::move(path), header.backing_format.value_or(""), layer, guessed)
          .result();
  if (!backing) {
    co_return fail(std::move(backing.error()).with_context("Could not open backing file"));
  }
  if (layer.writable && guessed && (*backing)->format() == "raw") {
    guessed_backing_ = (*backing)->filename();
  }
  co_return std::move(*backing);
}

}  // namespace

bool OpenPolicy::allows_format(const std::string& format) const {
  return formats.empty() || std::ranges::find(formats, format) != formats.end();
}

FileOptions file_options(const OpenOptions& options) {
  FileOptions file{.access = writes(options.purpose) ? Access::read_write : Access::read_only,
                   .cache = options.cache,
                   .durability = options.durability,
                   .lock = std::nullopt,
                   .exclusive_device = options.purpose == OpenPurpose::write_whole,
                   .approve = nullptr};
  if (!options.force_share) file.lock = locks_for(options.purpose);
  return file;
}

Task<OpenedImage> open_image(std::string filename, OpenOptions options, OpenPolicy policy) {
  Opener opener(std::move(options), std::move(policy));
  co_return co_await opener.open(std::move(filename));
}

Task<OpenedFile> open_image_file(std::string filename, OpenOptions options, OpenPolicy policy) {
  OpenedFile opened{.file = nullptr, .format = options.format};
  const bool guessed = opened.format.empty();
  if (!guessed) co_await check_format(opened.format, guessed, policy);
  filename = co_await plain_path(std::move(filename));
  if (filename.empty()) {
    co_return fail(ErrorKind::invalid_argument, "The 'file' block driver requires a file name");
  }
  opened.file = co_await DirectFile::open(std::move(filename), file_options(options));
  if (guessed) {
    opened.format = co_await probe(*opened.file);
    co_await check_format(opened.format, guessed, policy);
  }
  co_return opened;
}

}  // namespace platter
