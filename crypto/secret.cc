#include "crypto/secret.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "io/bytes.h"
#include "io/check.h"
#include "io/unique_fd.h"

namespace platter {
namespace {

constexpr std::size_t kPage = 4096;

// Null where that kind of file can't be had, or not mapped within the limit of locked memory.
std::byte* map_file(int fd, std::size_t size) {
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) return nullptr;
  void* const memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<std::byte*>(memory);
}

std::byte* map_secret_memory(std::size_t size) {
#ifdef SYS_memfd_secret
  const UniqueFd file(static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC)));
  return map_file(file.get(), size);
#else
  (void)size;
  return nullptr;
#endif
}

std::byte* map_plain_memory(std::size_t size) {
  const UniqueFd file(::memfd_create("platter-secret", MFD_CLOEXEC));
  std::byte* const memory = map_file(file.get(), size);
  // A user's limit may be too small: the secret is used all the same, as cryptsetup does.
  if (memory != nullptr) ::mlock(memory, size);
  return memory;
}

}  // namespace

Result<Secret> Secret::make(std::size_t size) {
  Secret secret;
  if (size == 0) return secret;
  const std::size_t mapped = align_up(size, kPage);
  std::byte* memory = map_secret_memory(mapped);
  if (memory == nullptr) memory = map_plain_memory(mapped);
  if (memory == nullptr) return fail(ErrorKind::out_of_memory, "No memory for a secret");
  secret.data_ = memory;
  secret.size_ = size;
  secret.mapped_ = mapped;
  if (::madvise(memory, mapped, MADV_DONTDUMP) != 0 ||
      ::madvise(memory, mapped, MADV_DONTFORK) != 0) {
    return fail_errno(errno, "protect", "memory for a secret");
  }
  return secret;
}

Result<Secret> Secret::copy_of(std::span<const std::byte> bytes) {
  Result<Secret> secret = make(bytes.size());
  if (secret && !bytes.empty()) ::memcpy(secret->data_, bytes.data(), bytes.size());
  return secret;
}

Secret::~Secret() {
  if (data_ == nullptr) return;
  ::explicit_bzero(data_, mapped_);
  ::munmap(data_, mapped_);
}

void Secret::shrink(std::size_t size) noexcept {
  PLATTER_CHECK(size <= size_);
  if (size == size_) return;
  ::explicit_bzero(data_ + size, size_ - size);
  size_ = size;
}

bool Secret::equals(std::span<const std::byte> bytes) const noexcept {
  return bytes.size() == size_ && CRYPTO_memcmp(data_, bytes.data(), size_) == 0;
}

}  // namespace platter
