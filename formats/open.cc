#include "formats/open.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "crypto/secret_source.h"
#include "formats/file_node.h"
#include "formats/luks/luks_image.h"
#include "formats/node_options.h"
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

Result<void> check_format(const std::string& name, const std::string& format, bool guessed,
                          const OpenPolicy& policy) {
  const bool known = format == "raw" || format == "qcow2" || format == "luks";
  if (!known && guessed) {
    return fail(ErrorKind::unknown_format,
                "The image looks like format '" + format +
                    "', which is not supported; only with an explicit format 'raw' are its bytes "
                    "taken as they are");
  }
  if (!known) return fail(ErrorKind::unknown_format, "Unknown driver '" + format + "'");
  if (policy.allows_format(format)) return {};
  return fail(ErrorKind::refused_by_policy,
              "'" + name + "': format '" + format + "' is not allowed here");
}

// A file without a format on it is shown as a raw image is.
std::string shown_format(const std::string& driver) {
  return is_file_driver(driver) ? "raw" : driver;
}

// "backing" as null, or as an empty text, as it used to be said: no backing image.
bool takes_null_backing(BlockOptions& options) {
  const OptionValue* const value = options.find("backing");
  if (value == nullptr) return false;
  const bool none = value->kind == OptionValue::Kind::null ||
                    (value->kind == OptionValue::Kind::text && value->text.empty());
  if (none) options.take("backing");
  return none;
}

Result<void> check_takes_no_backing(BlockOptions& options, std::string_view format,
                                    OpenPurpose purpose) {
  if (takes_null_backing(options) || purpose == OpenPurpose::inspect) {
    if (auto done = check_nothing_left(options, format); !done) return done;
  }
  if (options.has("backing") || options.has_child("backing")) {
    return fail(ErrorKind::unsupported, "Driver doesn't support backing files");
  }
  return check_nothing_left(options, format);
}

Result<void> no_such_node(const std::string& reference) {
  return fail(ErrorKind::invalid_argument,
              fmt::format("Cannot find device='{0}' nor node-name='{0}'", reference));
}

// What an image is called that a path alone does not tell; empty: the path does.
std::string qcow2_json(const BlockOptions& options, const FileNode& file) {
  const OptionValue* const key = options.find("encrypt.key-secret");
  if (file.plain && key == nullptr) return {};
  return fmt::format(
      "json:{{{}\"driver\": \"qcow2\", \"file\": {}}}",
      key == nullptr ? "" : fmt::format("\"encrypt.key-secret\": {}, ", json_of(*key)), file.json);
}

std::string luks_json(const BlockOptions& options, const FileNode& file) {
  const OptionValue* const key = options.find("key-secret");
  if (file.plain && key == nullptr) return file.path;
  return fmt::format("json:{{\"driver\": \"luks\", \"file\": {}{}}}", file.json,
                     key == nullptr ? "" : fmt::format(", \"key-secret\": {}", json_of(*key)));
}

// What only the header can tell of options.
Result<void> check_qcow2_options(const Qcow2NodeOptions& options, const qcow2::Header& header) {
  const std::uint64_t cluster_size = header.cluster_size();
  if (const auto entry = options.l2_cache_entry_size;
      entry && (!std::has_single_bit(*entry) || *entry < kSectorSize || *entry > cluster_size)) {
    return fail(
        ErrorKind::invalid_argument,
        fmt::format("L2 cache entry size must be a power of two between 512 and the cluster "
                    "size ({})",
                    cluster_size));
  }
  if (options.encrypt_format && header.crypt_method == qcow2::CryptMethod::none) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("No encryption in image header, but options specified format '{}'",
                            *options.encrypt_format));
  }
  return {};
}

// Opens an image and what it names, as far as the policy goes, each file once.
class Opener {
 public:
  Opener(OpenOptions options, OpenPolicy policy)
      : options_(std::move(options)), policy_(std::move(policy)), files_(policy_) {}

  Task<OpenedImage> open(ImageName name);
  /// The file of the named image alone.
  Task<OpenedFile> open_file(ImageName name);

 private:
  struct Request {
    BlockOptions options;
    NodeOptions parent;
    std::size_t depth = 0;    // in the backing chain
    bool writable = false;    // the image is opened for writing
    bool referenced = false;  // an image named the file
  };
  // A node whose file is open, and whose format is known.
  struct Node {
    FileNode file;
    std::string format;
    bool guessed = false;
    NodeOptions options;
  };

  Result<Request> request_for(const ImageName& name) const;
  Task<Node> open_node(Request& request);
  Task<FileNode> open_node_file(Request& request, BlockOptions child, const NodeOptions& node);
  Task<std::unique_ptr<Image>> open_image(Request request, bool& guessed);
  Task<std::unique_ptr<Image>> open_raw(Request& request, Node node);
  Task<std::unique_ptr<Image>> open_luks(Request& request, Node node);
  Task<std::unique_ptr<File>> open_luks_header(Request& request, const NodeOptions& node);
  Result<Secret> secret_of(const std::optional<std::string>& id) const;
  Task<std::unique_ptr<Image>> open_qcow2(Request& request, Node node);
  Task<std::unique_ptr<Image>> open_backing(const qcow2::Qcow2Image& image, Request& request,
                                            const NodeOptions& node);
  Task<std::unique_ptr<File>> open_data_file(const qcow2::Qcow2Image& image, Request& request,
                                             const NodeOptions& node);
  Task<std::unique_ptr<Image>> open_backing_of(const qcow2::Qcow2Image& image, Request backing,
                                               std::optional<std::string> reference, bool& guessed);
  Result<void> check_may_follow(const std::string& image, const std::string& name) const;
  FileOptions file_options_of(const Request& request) const;
  bool opens_for_writing(const std::string& image, const std::string& backing);

  OpenOptions options_;
  OpenPolicy policy_;
  FileNodeOpener files_;
  bool has_writable_backing_ = false;
  std::string guessed_backing_;
};

FileOptions Opener::file_options_of(const Request& request) const {
  FileOptions file = file_options(options_);
  if (request.depth == 0) return file;
  file.access = request.writable ? Access::read_write : Access::read_only;
  // Nobody writes to a backing file of this chain meanwhile.
  if (file.lock) file.lock = qcow2_locks_for(request.writable);
  return file;
}

bool Opener::opens_for_writing(const std::string& image, const std::string& backing) {
  if (!options_.writable_backing || has_writable_backing_) return false;
  const std::optional<std::string>& name = options_.writable_backing->name;
  has_writable_backing_ = !name || means_file(image, *name, backing);
  return has_writable_backing_;
}

Result<void> Opener::check_may_follow(const std::string& image, const std::string& name) const {
  if (policy_.follow_references) return {};
  return fail(ErrorKind::refused_by_policy,
              "'" + image + "' refers to '" + name + "', and references are not followed here");
}

// A name as options.
Result<Opener::Request> Opener::request_for(const ImageName& name) const {
  const OptionValue format{.text = options_.format};
  if (name.form() == ImageName::Form::options) {
    Result<BlockOptions> options = name.options();
    if (!options) return fail(std::move(options.error()));
    if (!options_.format.empty()) options->set("driver", format);
    return Request{.options = *std::move(options), .writable = writes(options_.purpose)};
  }
  const bool referenced = name.form() == ImageName::Form::reference;
  if (referenced && !policy_.follow_references) {
    return fail(ErrorKind::refused_by_policy,
                "'" + name.text() + "' is named by an image: such names are not followed here");
  }
  // An explicit format that this build lacks is known before the name is looked at.
  if (!options_.format.empty()) {
    if (auto known =
            check_format(name.text(), shown_format(options_.format), /*guessed=*/false, policy_);
        !known) {
      return fail(std::move(known.error()));
    }
  }
  Result<std::string> path = plain_path(name.text());
  if (!path) return fail(std::move(path.error()));
  return Request{.options = BlockOptions::of_path(*std::move(path), options_.format),
                 .writable = writes(options_.purpose),
                 .referenced = referenced};
}

Task<OpenedImage> Opener::open(ImageName name) {
  OpenedImage opened;
  opened.image = co_await open_image(co_await request_for(name), opened.format_was_guessed);
  opened.guessed_backing = std::move(guessed_backing_);
  co_return opened;
}

// A file alone, and the format that it is to have.
Task<Opener::Node> Opener::open_node(Request& request) {
  const std::optional<std::string> driver = request.options.take_text("driver");
  Node node{.format = driver.value_or(""), .guessed = !driver};
  if (is_file_driver(node.format)) {
    // Read as raw, under its own name.
    co_await check_format(node.format, shown_format(node.format), /*guessed=*/false, policy_);
    BlockOptions whole = std::exchange(request.options, {});
    whole.set("driver", {.text = node.format});
    node.file = co_await open_node_file(request, std::move(whole), request.parent);
    co_return node;
  }
  // For errors before the file is open.
  const OptionValue* const named = request.options.find("file.filename");
  const std::string name = named != nullptr ? named->text : "image";
  if (!node.guessed) co_await check_format(name, node.format, /*guessed=*/false, policy_);
  BlockOptions child = co_await take_file_child(request.options, !node.guessed);
  node.options = co_await files_.take_options(request.options, request.parent, request.writable);
  node.file = co_await open_node_file(request, std::move(child), node.options.inherited());
  if (node.guessed) {
    node.format = co_await probe(*node.file.file);
    co_await check_format(node.file.path, node.format, /*guessed=*/true, policy_);
  }
  co_return node;
}

Task<FileNode> Opener::open_node_file(Request& request, BlockOptions child,
                                      const NodeOptions& node) {
  FileNodeRequest below{.options = std::move(child),
                        .parent = node,
                        .file = file_options_of(request),
                        .referenced = request.referenced};
  return files_.open(std::move(below));
}

Task<OpenedFile> Opener::open_file(ImageName name) {
  Request request = co_await request_for(name);
  Node node = co_await open_node(request);
  // Nothing that the image stands on is opened, whatever is said of it.
  request.options.take_child("backing");
  request.options.take_child("data-file");
  request.options.take("backing");
  if (node.format == "qcow2") co_await take_qcow2_options(request.options);
  if (node.format == "raw") co_await make_part(node.file, request.options);
  if (node.format == "luks") {
    request.options.take("key-secret");
    request.options.take_child("header");
  }
  co_await check_nothing_left(request.options, node.format);
  co_return OpenedFile{.file = std::move(node.file.file),
                       .name = node.file.shown_name(),
                       .format = std::move(node.format),
                       .format_was_guessed = node.guessed};
}

Task<std::unique_ptr<Image>> Opener::open_image(Request request, bool& guessed) {
  Node node = co_await open_node(request);
  guessed = node.guessed;
  if (node.format == "qcow2") co_return co_await open_qcow2(request, std::move(node));
  if (node.format == "luks") co_return co_await open_luks(request, std::move(node));
  co_return co_await open_raw(request, std::move(node));
}

Task<std::unique_ptr<Image>> Opener::open_raw(Request& request, Node node) {
  const std::string_view format = node.format == "file"          ? "file"
                                  : node.format == "host_device" ? "host_device"
                                                                 : "raw";
  if (format == "raw") co_await make_part(node.file, request.options);
  co_await check_takes_no_backing(request.options, format, options_.purpose);
  std::string shown = node.file.shown_name();
  co_return co_await RawImage::open(std::move(node.file.file), std::move(shown), format);
}

Task<std::unique_ptr<Image>> Opener::open_luks(Request& request, Node node) {
  std::string shown = luks_json(request.options, node.file);
  const std::optional<std::string> id = request.options.take_text("key-secret");
  luks::LuksFiles files{.payload = std::move(node.file.file),
                        .header = co_await open_luks_header(request, node.options)};
  co_await check_takes_no_backing(request.options, "luks", options_.purpose);
  luks::LuksOpenOptions how{.limits = policy_.key_costs};
  Secret passphrase;
  if (options_.purpose != OpenPurpose::inspect) {  // metadata need no key
    passphrase = co_await secret_of(id);
    how.passphrase = &passphrase;
  }
  co_return co_await luks::LuksImage::open(std::move(files), std::move(shown), how);
}

// A header in a file of its own.
Task<std::unique_ptr<File>> Opener::open_luks_header(Request& request, const NodeOptions& node) {
  const std::optional<std::string> reference = request.options.take_text("header");
  BlockOptions child = request.options.take_child("header");
  if (reference) co_await no_such_node(*reference);
  if (child.empty()) co_return nullptr;
  FileNodeRequest below{
      .options = std::move(child), .parent = node.inherited(), .file = file_options_of(request)};
  FileNode opened = co_await files_.open(std::move(below));
  co_return std::move(opened.file);
}

Result<Secret> Opener::secret_of(const std::optional<std::string>& id) const {
  if (!id) {
    return fail(ErrorKind::invalid_argument, "Parameter 'key-secret' is required for cipher");
  }
  return policy_.secrets != nullptr ? policy_.secrets->get(*id) : SecretStore().get(*id);
}

Task<std::unique_ptr<Image>> Opener::open_qcow2(Request& request, Node node) {
  const std::string shown = qcow2_json(request.options, node.file);
  const Qcow2NodeOptions own = co_await take_qcow2_options(request.options);
  const bool locks = !options_.force_share && !node.options.force_share;
  if (locks && options_.purpose != OpenPurpose::inspect && node.file.direct->is_locked()) {
    co_await node.file.direct->lock(qcow2_locks_for(request.writable));
  }
  auto image = co_await qcow2::Qcow2Image::open(std::move(node.file.file),
                                                std::move(node.file.path), policy_.memory_max);
  image->set_shown_name(shown);
  co_await check_qcow2_options(own, image->header());
  const bool keeps_places = options_.discard_no_unref || own.discard_no_unref;
  image->set_discard_no_unref(keeps_places && request.depth == 0);
  const bool no_backing = takes_null_backing(request.options) || options_.without_backing;
  // Looking at metadata opens nothing else.
  if (options_.purpose == OpenPurpose::inspect) {
    request.options.take("data-file");
    request.options.take_child("data-file");
    co_await check_nothing_left(request.options, "qcow2");
    co_return image;
  }
  std::unique_ptr<File> data_file = co_await open_data_file(*image, request, node.options);
  std::unique_ptr<Image> backing;
  if (!no_backing) backing = co_await open_backing(*image, request, node.options);
  co_await check_nothing_left(request.options, "qcow2");
  co_await image->connect(std::move(backing), std::move(data_file), request.writable);
  co_return image;
}

Task<std::unique_ptr<File>> Opener::open_data_file(const qcow2::Qcow2Image& image, Request& request,
                                                   const NodeOptions& node) {
  const qcow2::Header& header = image.header();
  const std::optional<std::string> reference = request.options.take_text("data-file");
  BlockOptions child = request.options.take_child("data-file");
  if (reference) co_await no_such_node(*reference);
  if (!header.has_data_file()) {
    if (child.empty()) co_return nullptr;
    co_return fail(ErrorKind::invalid_argument,
                   "'data-file' can only be set for images with an external data file");
  }
  const bool referenced = child.empty();
  if (referenced) {
    if (!header.data_file) {
      co_return fail(ErrorKind::corrupt_image, "'data-file' is required for this image");
    }
    co_await check_may_follow(image.location(), *header.data_file);
    child.set("filename",
              {.text = co_await plain_path(referenced_path(image.location(), *header.data_file))});
  }
  FileNodeRequest below{.options = std::move(child),
                        .parent = node.inherited(),
                        .file = file_options_of(request),
                        .referenced = referenced};
  FileNode opened = co_await files_.open(std::move(below));
  co_return std::move(opened.file);
}

// What the header names, what the options name instead, or a mixture of both.
Task<std::unique_ptr<Image>> Opener::open_backing(const qcow2::Qcow2Image& image, Request& request,
                                                  const NodeOptions& node) {
  const qcow2::Header& header = image.header();
  const std::optional<std::string> reference = request.options.take_text("backing");
  Request backing{.options = request.options.take_child("backing"),
                  .parent = node.inherited(),
                  .depth = request.depth + 1};
  if (header.backing_file) {
    const std::string path = referenced_path(image.location(), *header.backing_file);
    backing.writable = opens_for_writing(image.location(), path);
  }
  backing.parent.read_only = !backing.writable;
  if (!header.backing_file && !reference && backing.options.empty()) co_return nullptr;
  if (backing.depth >= policy_.chain_length_max) {
    co_return fail(ErrorKind::too_large, "'" + image.filename() +
                                             "': the backing chain is longer " + "than " +
                                             std::to_string(policy_.chain_length_max) + " images");
  }
  const bool names_file = backing.options.has("file.filename") || backing.options.has("filename");
  backing.referenced = header.backing_file && !names_file;
  if (backing.referenced) co_await check_may_follow(image.location(), *header.backing_file);
  bool guessed = false;
  const bool writable = backing.writable;
  Result<std::unique_ptr<Image>> opened =
      co_await open_backing_of(image, std::move(backing), reference, guessed).result();
  if (!opened)
    co_return fail(std::move(opened.error()).with_context("Could not open backing file"));
  if (writable && guessed && (*opened)->format() == "raw") {
    guessed_backing_ = (*opened)->filename();
  }
  co_return std::move(*opened);
}

// Errors are told as those of the backing file.
Task<std::unique_ptr<Image>> Opener::open_backing_of(const qcow2::Qcow2Image& image,
                                                     Request backing,
                                                     std::optional<std::string> reference,
                                                     bool& guessed) {
  const qcow2::Header& header = image.header();
  if (reference) co_await no_such_node(*reference);
  const std::string format = header.backing_format.value_or("");
  if (!format.empty() && !backing.options.has("driver")) {
    co_await check_format(*header.backing_file, shown_format(format), /*guessed=*/false, policy_);
    backing.options.set("driver", {.text = format});
  }
  if (backing.referenced) {
    const OptionValue* const driver = backing.options.find("driver");
    const bool is_file = driver != nullptr && is_file_driver(driver->text);
    backing.options.set(
        is_file ? "filename" : "file.filename",
        {.text = co_await plain_path(referenced_path(image.location(), *header.backing_file))});
  }
  co_return co_await open_image(std::move(backing), guessed);
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

Task<OpenedImage> open_image(ImageName name, OpenOptions options, OpenPolicy policy) {
  Opener opener(std::move(options), std::move(policy));
  co_return co_await opener.open(std::move(name));
}

Task<OpenedFile> open_image_file(ImageName name, OpenOptions options, OpenPolicy policy) {
  Opener opener(std::move(options), std::move(policy));
  co_return co_await opener.open_file(std::move(name));
}

}  // namespace platter
