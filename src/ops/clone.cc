#include "src/ops/clone.h"

#include <limits.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <utility>

#include "formats/open.h"
#include "formats/qcow2/create.h"
#include "formats/qcow2/header_sector.h"
#include "formats/raw/raw_create.h"
#include "formats/raw/raw_image.h"
#include "formats/reference.h"
#include "io/bytes.h"
#include "io/new_file.h"
#include "src/ops/copy_engine.h"

namespace platter {
namespace {

constexpr std::array kModes = {CloneMode::automatic, CloneMode::reflink, CloneMode::copy,
                               CloneMode::overlay};

struct SplitPath {
  std::string folder;
  std::string name;
};
SplitPath split(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

Result<std::string> resolved_folder(const std::string& path) {
  const std::string folder = split(path).folder;
  std::array<char, PATH_MAX> resolved{};
  if (::realpath(folder.c_str(), resolved.data()) == nullptr) {
    return fail_errno(errno, "resolve", folder);
  }
  return std::string(resolved.data());
}

bool lead_to_one_file(const std::string& a, const std::string& b) {
  struct stat first{};
  struct stat second{};
  return ::stat(a.c_str(), &first) == 0 && ::stat(b.c_str(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

class Cloning {
 public:
  explicit Cloning(const CloneOptions& options) : options_(options) {}

  Task<CloneResult> run();

 private:
  Task<void> open_source();
  Task<CloneResult> clone();
  Task<CloneResult> clone_automatically();
  Result<void> check_target_is_new() const;
  Result<void> check_copyable() const;
  Result<void> check_backing_name() const;
  Result<std::string> overlay_reference() const;

  Task<std::unique_ptr<NewFile>> new_target() {
    return NewFile::create(target_, {.access = Access::read_write});
  }
  Task<void> reflink();
  Task<bool> kernel_copies();
  Task<void> copy();
  Task<void> overlay();
  CloneResult result(CloneMode mode) const;

  const CloneOptions& options_;
  std::string source_;  // paths
  std::string target_;
  std::unique_ptr<RawImage> bytes_;  // the source's file as it is
  DirectFile* file_ = nullptr;       // the same; in bytes_
  std::string format_;
  std::optional<qcow2::Header> header_;
  std::uint64_t file_size_ = 0;
  std::uint64_t virtual_size_ = 0;
  std::optional<std::string> overlay_backing_;
};

Task<void> Cloning::open_source() {
  const OpenOptions open{.purpose = OpenPurpose::read_stable,
                         .format = options_.source_format,
                         .force_share = options_.force_share};
  OpenedFile opened = co_await open_image_file(options_.source, open, OpenPolicy());
  format_ = opened.format;
  file_ = dynamic_cast<DirectFile*>(opened.file.get());
  if (file_ == nullptr) co_await fail(ErrorKind::unsupported, "only whole files can be cloned");
  file_size_ = co_await file_->size();
  if (format_ == "luks") {
    co_await fail(ErrorKind::unsupported, "a copy would have the keys of this LUKS image");
  }
  if (format_ == "qcow2") header_ = co_await qcow2::read_header(*file_);
  bytes_ = co_await RawImage::open(std::move(opened.file), options_.source);
  virtual_size_ = header_ ? header_->size : bytes_->virtual_size();
}

// A name that leads nowhere is taken, too: what it means changes with its link.
Result<void> Cloning::check_target_is_new() const {
  struct stat status{};
  if (::lstat(target_.c_str(), &status) != 0) return {};
  return fail(ErrorKind::already_exists, "'" + target_ + "' exists already");
}

// Whether a copy of the file is an image like the source.
Result<void> Cloning::check_copyable() const {
  if (!header_) return {};
  if (header_->has_data_file()) {
    return fail(ErrorKind::unsupported, "'" + source_ + "': a copy would share its data file '" +
                                            header_->data_file.value_or("") + "' with it");
  }
  return check_backing_name();
}

Result<void> Cloning::check_backing_name() const {
  if (!header_->backing_file) return {};
  const std::string& name = *header_->backing_file;
  const std::string from_source = referenced_path(source_, name);
  const std::string from_target = referenced_path(target_, name);
  if (from_source == from_target) return {};
  const Result<std::string> source_folder = resolved_folder(source_);
  if (!source_folder) return fail(source_folder.error().clone());
  const Result<std::string> target_folder = resolved_folder(target_);
  if (!target_folder) return fail(target_folder.error().clone());
  if (*source_folder == *target_folder || lead_to_one_file(from_source, from_target)) return {};
  return fail(ErrorKind::invalid_argument, "'" + source_ + "': the name of its backing file, '" +
                                               name + "', means '" + from_target + "' in '" +
                                               target_ + "'");
}

// How the target names the source.
Result<std::string> Cloning::overlay_reference() const {
  const Result<std::string> source_folder = resolved_folder(source_);
  if (!source_folder) return fail(source_folder.error().clone());
  const Result<std::string> target_folder = resolved_folder(target_);
  if (!target_folder) return fail(target_folder.error().clone());
  std::string name = split(source_).name;
  // With a colon, a name alone would be taken for a protocol's.
  if (*source_folder == *target_folder && !name.contains(':')) return name;
  return (*source_folder == "/" ? "" : *source_folder) + "/" + name;
}

CloneResult Cloning::result(CloneMode mode) const {
  CloneResult made{.mode = mode, .format = format_, .virtual_size = virtual_size_};
  if (header_) made.backing_file = header_->backing_file;
  if (mode == CloneMode::overlay) {
    made.format = "qcow2";
    made.backing_file = overlay_backing_;
  }
  return made;
}

Task<void> Cloning::reflink() {
  const std::unique_ptr<NewFile> target = co_await new_target();
  const std::unique_ptr<DirectFile> file = target->take_file();
  if (file_->traits().is_block_device) {
    co_await fail(ErrorKind::unsupported, "'" + source_ + "': a device's blocks can't be shared");
  }
  co_await file->clone_from(*file_, 0, 0, file_size_);
  co_await target->publish(*file);
  co_await file->close();
}

// Asked with a part of the source, on a file that nobody will see. Whatever is too short for the question
// is also quickly read.
Task<bool> Cloning::kernel_copies() {
  constexpr std::uint64_t kPart = 4 * kKiB;
  if (file_size_ < kPart) co_return true;
  const std::unique_ptr<NewFile> target = co_await new_target();
  const std::unique_ptr<DirectFile> file = target->take_file();
  const Result<std::uint64_t> copied = co_await file->copy_from(*file_, 0, 0, kPart).result();
  co_await file->close();
  if (!copied && copied.error().kind() != ErrorKind::unsupported) {
    co_return fail(copied.error().clone());
  }
  co_return copied.has_value();
}

Task<void> Cloning::copy() {
  const std::unique_ptr<NewFile> target = co_await new_target();
  std::unique_ptr<DirectFile> owned = target->take_file();
  DirectFile& file = *owned;
  co_await file.truncate(bytes_->virtual_size());
  const std::unique_ptr<RawImage> image = co_await RawImage::open(std::move(owned), target_);
  CopyOptions options;
  options.target_is_zero = true;
  options.offload_copy = true;
  options.cancel = options_.cancel;
  options.progress = options_.progress;
  co_await copy_image(*bytes_, *image, std::move(options));
  // An image's size is in sectors; the file's need not be.
  if (file_size_ != bytes_->virtual_size()) co_await file.truncate(file_size_);
  co_await target->publish(file);
  co_await image->close();
}

Task<void> Cloning::overlay() {
  overlay_backing_ = co_await overlay_reference();
  qcow2::CreateOptions create{.size = virtual_size_};
  create.backing_file = overlay_backing_;
  create.backing_format = format_;
  create.cancel = options_.cancel;
  if (header_) create.cluster_size = header_->cluster_size();
  const qcow2::CreatePlan plan = co_await qcow2::plan_image(std::move(create));
  const std::unique_ptr<NewFile> target = co_await new_target();
  const std::unique_ptr<DirectFile> file = target->take_file();
  co_await qcow2::create_qcow2(*file, nullptr, plan);
  co_await target->publish(*file);
  co_await file->close();
}

Task<CloneResult> Cloning::clone_automatically() {
  std::string reason;
  if (Result<void> copyable = check_copyable(); !copyable) {
    reason = copyable.error().message();
  } else {
    Result<void> shared = co_await reflink().result();
    if (shared) co_return result(CloneMode::reflink);
    if (shared.error().kind() != ErrorKind::unsupported) {
      co_return fail(std::move(shared.error()));
    }
    reason = shared.error().message();
    if (co_await kernel_copies()) {
      co_await copy();
      CloneResult made = result(CloneMode::copy);
      made.reason = std::move(reason);
      co_return made;
    }
    reason += "; the kernel can't copy between these files";
  }
  co_await overlay();
  CloneResult made = result(CloneMode::overlay);
  made.reason = std::move(reason);
  co_return made;
}

Task<CloneResult> Cloning::clone() {
  if (options_.mode == CloneMode::automatic) co_return co_await clone_automatically();
  if (options_.mode == CloneMode::overlay) {
    co_await overlay();
    co_return result(CloneMode::overlay);
  }
  co_await check_copyable();
  if (options_.mode == CloneMode::reflink) {
    co_await reflink();
  } else {
    co_await copy();
  }
  co_return result(options_.mode);
}

Task<CloneResult> Cloning::run() {
  source_ = co_await plain_path(options_.source);
  target_ = co_await plain_path(options_.target);
  co_await check_target_is_new();
  co_await open_source();
  Result<CloneResult> made = co_await clone().result();
  Result<void> closed = co_await bytes_->close().result();
  if (!made) co_return fail(std::move(made.error()));
  co_await std::move(closed);
  co_return std::move(*made);
}

}  // namespace

std::string_view to_string(CloneMode mode) noexcept {
  switch (mode) {
    case CloneMode::automatic: return "auto";
    case CloneMode::reflink: return "reflink";
    case CloneMode::copy: return "copy";
    case CloneMode::overlay: return "overlay";
  }
  return "auto";
}

Result<CloneMode> parse_clone_mode(std::string_view name) {
  const auto mode =
      std::ranges::find(kModes, name, [](CloneMode known) { return to_string(known); });
  if (mode != kModes.end()) return *mode;
  return fail(ErrorKind::invalid_argument,
              "Unknown mode '" + std::string(name) + "': auto, reflink, copy or overlay");
}

Task<CloneResult> clone_image(CloneOptions options) {
  Cloning cloning(options);
  co_return co_await cloning.run();
}

}  // namespace platter
