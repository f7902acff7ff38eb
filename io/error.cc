#include "io/error.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "io/check.h"

namespace platter {

std::string_view to_string(ErrorKind kind) noexcept {
  switch (kind) {
    case ErrorKind::io: return "io";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::already_exists: return "already_exists";
    case ErrorKind::permission: return "permission";
    case ErrorKind::no_space: return "no_space";
    case ErrorKind::read_only: return "read_only";
    case ErrorKind::in_use: return "in_use";
    case ErrorKind::unsupported: return "unsupported";
    case ErrorKind::invalid_argument: return "invalid_argument";
    case ErrorKind::wrong_type: return "wrong_type";
    case ErrorKind::too_large: return "too_large";
    case ErrorKind::out_of_bounds: return "out_of_bounds";
    case ErrorKind::file_changed: return "file_changed";
    case ErrorKind::corrupt_image: return "corrupt_image";
    case ErrorKind::unknown_format: return "unknown_format";
    case ErrorKind::refused_by_policy: return "refused_by_policy";
    case ErrorKind::out_of_memory: return "out_of_memory";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::timed_out: return "timed_out";
    case ErrorKind::wrong_digest: return "wrong_digest";
  }
  return "unknown";
}

ErrorKind kind_of_errno(int os_error) noexcept {
  switch (os_error) {
    case ENOENT:
    case ENXIO: return ErrorKind::not_found;
    case EEXIST: return ErrorKind::already_exists;
    case EPERM:
    case EACCES: return ErrorKind::permission;
    case ENOSPC:
    case EDQUOT: return ErrorKind::no_space;
    case EROFS: return ErrorKind::read_only;
    case EBUSY:
    case ETXTBSY: return ErrorKind::in_use;
    case ENOSYS:
    case EOPNOTSUPP: return ErrorKind::unsupported;
    case EINVAL:
    case ENAMETOOLONG: return ErrorKind::invalid_argument;
    case EISDIR:
    case ENOTDIR:
    case ELOOP: return ErrorKind::wrong_type;
    case EFBIG:
    case EOVERFLOW: return ErrorKind::too_large;
    case ENOMEM: return ErrorKind::out_of_memory;
    case ECANCELED: return ErrorKind::cancelled;
    default: return ErrorKind::io;
  }
}

std::string errno_text(int os_error) {
  // glibc's strerrordesc_np() is static text, never translated and never shared with strerror().
  const char* text = strerrordesc_np(os_error);
  return text != nullptr ? std::string(text) : "Unknown error " + std::to_string(os_error);
}

Error::Error(ErrorKind kind, std::string message)
    : kind_(kind), details_(std::make_unique<Details>()) {
  details_->message = std::move(message);
}

Error Error::from_errno(int os_error, std::string_view operation, std::string_view path,
                        std::optional<std::uint64_t> offset) {
  PLATTER_CHECK(os_error > 0);
  Error error;
  error.kind_ = kind_of_errno(os_error);
  error.os_error_ = os_error;
  error.details_ = std::make_unique<Details>();
  error.details_->operation = operation;
  error.details_->path = path;
  error.details_->offset = offset;
  return error;
}

Error Error::clone() const {
  Error copy;
  copy.kind_ = kind_;
  copy.os_error_ = os_error_;
  copy.details_ = std::make_unique<Details>(*details_);
  return copy;
}

std::string_view Error::operation() const noexcept { return details_->operation; }
std::string_view Error::path() const noexcept { return details_->path; }
std::optional<std::uint64_t> Error::offset() const noexcept { return details_->offset; }

std::string Error::reason() const {
  return details_->message.empty() ? errno_text(os_error_) : details_->message;
}

std::string Error::message() const {
  std::string text = details_->context;
  if (!details_->message.empty()) return text + details_->message;
  if (!details_->operation.empty()) {
    text += "Could not " + details_->operation;
    if (!details_->path.empty()) text += " '" + details_->path + "'";
    if (details_->offset) text += " at offset " + std::to_string(*details_->offset);
    text += ": ";
  }
  return text + errno_text(os_error_);
}

Error&& Error::with_context(std::string_view context) && {
  details_->context.insert(0, std::string(context) + ": ");
  return std::move(*this);
}

}  // namespace platter
