#include "crypto/key_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <libcryptsetup.h>

#include "io/unique_fd.h"

namespace platter {
namespace {

constexpr std::size_t kSizeMax = std::size_t{8} << 20;  // cryptsetup's limit
constexpr std::size_t kFirstSize = 4096;

std::byte* allocate(std::size_t size) { return static_cast<std::byte*>(crypt_safe_alloc(size)); }

}  // namespace

KeyBytes::~KeyBytes() { crypt_safe_free(data_); }

Result<KeyBytes> KeyBytes::read(const std::string& file) {
  const bool standard_input = file == "-";
  const UniqueFd opened(standard_input ? -1 : ::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!standard_input && !opened) return fail_errno(errno, "open", file);
  const int fd = standard_input ? STDIN_FILENO : opened.get();
  KeyBytes key;
  for (std::size_t room = 0;;) {
    if (key.size_ == room) {  // a larger place; what was in the smaller one is wiped with it
      room = room == 0 ? kFirstSize : room * 2;
      KeyBytes larger;
      larger.data_ = allocate(room);
      if (larger.data_ == nullptr) return fail(ErrorKind::out_of_memory, "No memory for a key");
      if (key.size_ != 0) std::memcpy(larger.data_, key.data_, key.size_);
      larger.size_ = key.size_;
      key = std::move(larger);
    }
    const ssize_t count = ::read(fd, key.data_ + key.size_, room - key.size_);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "read", file);
    if (count == 0) break;
    key.size_ += static_cast<std::size_t>(count);
    if (key.size_ > kSizeMax) {
      return fail(ErrorKind::too_large, fmt::format("'{}' is larger than 8 MiB: not a key", file));
    }
  }
  if (key.size_ == 0) {
    return fail(ErrorKind::invalid_argument, fmt::format("'{}' is empty: not a key", file));
  }
  return key;
}

}  // namespace platter
