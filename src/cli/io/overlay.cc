#include "src/cli/io/overlay.h"

#include <stdlib.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "formats/qcow2/qcow2_image.h"
#include "src/ops/qcow2_target.h"

namespace platter::cli {
namespace {

Result<std::string> make_folder() {
  const char* parent = ::getenv("TMPDIR");
  std::string folder = parent != nullptr && *parent != '\0' ? parent : "/var/tmp";
  folder += "/platter.XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return fail_errno(errno, "make a folder", folder);
  return folder;
}

}  // namespace

Overlay::Overlay() noexcept = default;
Overlay::Overlay(Overlay&& other) noexcept { *this = std::move(other); }
Overlay& Overlay::operator=(Overlay&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(options_, other.options_);
  std::swap(target_, other.target_);
  return *this;
}

Overlay::~Overlay() {
  target_.reset();  // with it goes the file
  if (!folder_.empty()) ::rmdir(folder_.c_str());
}

Task<std::unique_ptr<Image>> Overlay::open(std::unique_ptr<Image> base) {
  folder_ = co_await make_folder();
  options_ = std::make_unique<CreateOptions>();
  options_->filename = folder_ + "/overlay";
  options_->format = "qcow2";
  options_->size = base->virtual_size();
  options_->qcow2.backing_file = base->filename();
  options_->qcow2.backing_format = std::string(base->format());
  target_ = std::make_unique<Qcow2Target>(*options_, CacheUse::buffered, Durability::never);
  co_await target_->begin();
  co_return co_await target_->open(std::move(base));
}

}  // namespace platter::cli
