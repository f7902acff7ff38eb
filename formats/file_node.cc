#include "formats/file_node.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "formats/json_reader.h"
#include "formats/window_file.h"

namespace platter {
namespace {

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

Result<void> check_driver(const std::string& driver, bool is_device, const std::string& name) {
  if (driver == "host_device" && !is_device) {
    return fail(ErrorKind::wrong_type,
                fmt::format("'host_device' driver requires '{}' to be either a character or block "
                            "device",
                            name));
  }
  if (driver == "file" && is_device) {
    return fail(ErrorKind::wrong_type,
                fmt::format("'file' driver requires '{}' to be a regular file", name));
  }
  return {};
}

}  // namespace

std::string json_of(const OptionValue& value) {
  switch (value.kind) {
    case OptionValue::Kind::text: return json_quoted(value.text);
    case OptionValue::Kind::boolean: return value.text == "on" ? "true" : "false";
    case OptionValue::Kind::number: return value.text;
    case OptionValue::Kind::null:
    case OptionValue::Kind::structure: break;
  }
  return "null";
}

Result<BlockOptions> take_file_child(BlockOptions& options, bool has_driver) {
  const std::optional<std::string> reference = options.take_text("file");
  BlockOptions child = options.take_child("file");
  if (reference && !child.empty()) {
    return fail(ErrorKind::invalid_argument,
                "Cannot reference an existing block device with additional options or a new "
                "filename");
  }
  if (reference) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Cannot find device='{0}' nor node-name='{0}'", *reference));
  }
  if (!child.empty()) return child;
  return fail(ErrorKind::invalid_argument, has_driver
                                               ? "A block device must be specified for \"file\""
                                               : "Must specify either driver or file");
}

Result<NodeOptions> FileNodeOpener::take_options(BlockOptions& options, const NodeOptions& parent,
                                                 bool writes) {
  Result<NodeOptions> node = take_node_options(options, parent);
  if (!node) return node;
  if (!node->name.empty() && !names_.insert(node->name).second) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Duplicate nodes with node-name='{}'", node->name));
  }
  if (writes && node->force_share) {
    return fail(ErrorKind::invalid_argument,
                "force-share=on can only be used with read-only images");
  }
  if (writes && node->read_only) return fail(ErrorKind::read_only, "Block node is read-only");
  return node;
}

Task<FileNode> FileNodeOpener::open(FileNodeRequest request) {
  const std::optional<std::string> driver = request.options.take_text("driver");
  if (!driver && !request.options.has("filename")) {
    co_return fail(ErrorKind::invalid_argument, "Must specify either driver or file");
  }
  if (!driver || is_file_driver(*driver)) {
    co_return co_await open_file(driver.value_or(""), std::move(request));
  }
  if (*driver == "raw") co_return co_await open_part(std::move(request));
  if (*driver == "qcow2") {
    co_return fail(ErrorKind::unsupported, "An image can't lie in one of format 'qcow2'");
  }
  co_return fail(ErrorKind::unknown_format, "Unknown driver '" + *driver + "'");
}

Task<FileNode> FileNodeOpener::open_file(std::string driver, FileNodeRequest request) {
  const bool writes = request.file.access == Access::read_write;
  const NodeOptions node = co_await take_options(request.options, request.parent, writes);
  const FileNodeOptions own = co_await take_file_options(request.options, node);
  FileOptions file = std::move(request.file);
  node.apply_to(file);
  if (!own.lock) file.lock.reset();
  const bool referenced = request.referenced;
  file.lookup = policy_.lookup;
  file.approve = [&, referenced](int path_fd) {
    return approve(path_fd, own.filename, driver, referenced);
  };
  FileNode opened{.path = own.filename};
  std::unique_ptr<DirectFile> direct = co_await DirectFile::open(own.filename, std::move(file));
  if (driver.empty()) driver = direct->traits().is_block_device ? "host_device" : "file";
  co_await check_nothing_left(request.options, driver);
  opened.direct = direct.get();
  opened.file = std::move(direct);
  opened.json = fmt::format("{{\"driver\": {}, \"filename\": {}}}", json_quoted(driver),
                            json_quoted(opened.path));
  co_return opened;
}

// raw, as what another node lies in.
Task<FileNode> FileNodeOpener::open_part(FileNodeRequest request) {
  const bool writes = request.file.access == Access::read_write;
  FileNodeRequest below{.options = co_await take_file_child(request.options, /*has_driver=*/true),
                        .parent = {},
                        .file = std::move(request.file),
                        .referenced = request.referenced};
  const NodeOptions node = co_await take_options(request.options, request.parent, writes);
  below.parent = node.inherited();
  FileNode opened = co_await open(std::move(below));
  co_await make_part(opened, request.options);
  co_await check_nothing_left(request.options, "raw");
  opened.plain = false;
  co_return opened;
}

Task<void> make_part(FileNode& node, BlockOptions& options) {
  std::string before;
  std::string after;
  if (const OptionValue* offset = options.find("offset")) {
    before = fmt::format("\"offset\": {}, ", json_of(*offset));
  }
  if (const OptionValue* size = options.find("size")) {
    after = fmt::format("\"size\": {}, ", json_of(*size));
  }
  const WindowOptions window = co_await take_raw_options(options);
  if (!before.empty() || !after.empty()) {
    node.file = co_await WindowFile::make(std::move(node.file), window.offset, window.size);
    node.plain = false;
  }
  node.json = fmt::format("{{{}\"driver\": \"raw\", {}\"file\": {}}}", before, after, node.json);
}

// Looks at what a name leads to before it is opened for I/O.
Result<void> FileNodeOpener::approve(int path_fd, const std::string& name,
                                     const std::string& driver, bool referenced) {
  struct stat status{};
  if (::fstat(path_fd, &status) != 0) return fail_errno(errno, "stat", name);
  if (auto fits = check_driver(driver, S_ISBLK(status.st_mode), name); !fits) return fits;
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

}  // namespace platter
