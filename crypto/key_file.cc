#include "crypto/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "io/unique_fd.h"

namespace platter {
namespace {

constexpr std::size_t kKeyFileMax = std::size_t{8} << 20;  // cryptsetup's limit
constexpr std::size_t kFirstSize = 4096;

// What is there must be ours alone to read, whoever owns it.
Result<void> check_mode(int fd, const std::string& path) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return fail_errno(errno, "stat", path);
  if ((status.st_mode & (S_IRGRP | S_IROTH)) == 0) return {};
  return fail(
      ErrorKind::permission,
      fmt::format("'{}' holds a secret and others than its owner may read it (mode {:04o}): "
                  "chmod 600 makes it safe",
                  path, status.st_mode & 07777));
}

}  // namespace

Result<Secret> read_secret(int fd, const std::string& name, std::size_t size_max) {
  Secret secret;
  std::size_t size = 0;
  for (;;) {
    if (size == secret.size()) {  // a larger place; the smaller one is wiped
      if (size > size_max) break;
      const std::size_t wanted = std::max(kFirstSize, secret.size() * 2);
      Result<Secret> larger = Secret::make(std::min(wanted, size_max + 1));
      if (!larger) return larger;
      std::ranges::copy(secret.view(), larger->writable().begin());
      secret = *std::move(larger);
    }
    const std::span<std::byte> room = secret.writable().subspan(size);
    const ssize_t count = ::read(fd, room.data(), room.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno(errno, "read", name);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > size_max) {
    return fail(ErrorKind::too_large,
                fmt::format("'{}' has more than {} bytes: not a key", name, size_max));
  }
  secret.shrink(size);
  return secret;
}

Result<Secret> read_secret_file(const std::string& path, SecretFileMode mode,
                                std::size_t size_max) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return fail_errno(errno, "open", path);
  if (mode == SecretFileMode::owner_only) {
    if (auto checked = check_mode(file.get(), path); !checked) {
      return fail(std::move(checked.error()));
    }
  }
  return read_secret(file.get(), path, size_max);
}

Result<Secret> read_key_file(const std::string& file) {
  Result<Secret> key = file == "-" ? read_secret(STDIN_FILENO, file, kKeyFileMax)
                                   : read_secret_file(file, SecretFileMode::any, kKeyFileMax);
  if (key && key->empty()) {
    return fail(ErrorKind::invalid_argument, fmt::format("'{}' is empty: not a key", file));
  }
  return key;
}

}  // namespace platter
