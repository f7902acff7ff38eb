#include "crypto/key_hash.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "io/check.h"

namespace platter {
namespace {

struct HashName {
  std::string_view name;
  const char* openssl;
  std::size_t size;
};
constexpr std::array kHashes = {HashName{"md5", "MD5", 16},
                                HashName{"sha1", "SHA1", 20},
                                HashName{"sha224", "SHA224", 28},
                                HashName{"sha256", "SHA256", 32},
                                HashName{"sha384", "SHA384", 48},
                                HashName{"sha512", "SHA512", 64},
                                HashName{"ripemd160", "RIPEMD160", 20}};

const HashName* find_hash(std::string_view name) {
  const auto found = std::ranges::find(kHashes, name, &HashName::name);
  return found == kHashes.end() ? nullptr : &*found;
}

std::unexpected<Error> no_hash(std::string_view name) {
  return fail(ErrorKind::unsupported, "Hash '" + std::string(name) + "' is not offered here");
}

using Algorithm = std::unique_ptr<EVP_MD, decltype(&::EVP_MD_free)>;

Algorithm fetch(const HashName& hash) {
  return {::EVP_MD_fetch(nullptr, hash.openssl, nullptr), &::EVP_MD_free};
}

std::uint64_t thread_time_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

unsigned char* octets(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

}  // namespace

std::optional<std::size_t> key_hash_size(std::string_view name) noexcept {
  const HashName* const hash = find_hash(name);
  return hash != nullptr ? std::optional(hash->size) : std::nullopt;
}

Result<void> key_hash(std::string_view name, std::span<const std::byte> bytes,
                      std::span<std::byte> into) {
  const HashName* const hash = find_hash(name);
  if (hash == nullptr) return no_hash(name);
  PLATTER_CHECK(into.size() == hash->size);
  const Algorithm algorithm = fetch(*hash);
  if (algorithm && ::EVP_Digest(bytes.data(), bytes.size(), octets(into), nullptr, algorithm.get(),
                                nullptr) == 1) {
    return {};
  }
  return no_hash(name);
}

Result<void> pbkdf2(std::string_view hash_name, std::span<const std::byte> password,
                    std::span<const std::byte> salt, std::uint32_t iterations,
                    std::span<std::byte> into) {
  const HashName* const hash = find_hash(hash_name);
  if (hash == nullptr) return no_hash(hash_name);
  const Algorithm algorithm = fetch(*hash);
  // No password is one of no bytes, which a null pointer does not say.
  const char* const text = password.empty() ? "" : reinterpret_cast<const char*>(password.data());
  if (algorithm &&
      ::PKCS5_PBKDF2_HMAC(text, static_cast<int>(password.size()),
                          reinterpret_cast<const unsigned char*>(salt.data()),
                          static_cast<int>(salt.size()), static_cast<int>(iterations),
                          algorithm.get(), static_cast<int>(into.size()), octets(into)) == 1) {
    return {};
  }
  return no_hash(hash_name);
}

Result<std::uint64_t> pbkdf2_iterations_per_second(std::string_view hash, std::size_t size) {
  constexpr std::uint64_t kLongEnoughNs = 60'000'000;
  constexpr std::uint64_t kSecondNs = 1'000'000'000;
  std::array<std::byte, 64> derived{};
  PLATTER_CHECK(size <= derived.size());
  const std::array<std::byte, 32> salt{};
  for (std::uint32_t iterations = 1U << 12;; iterations *= 2) {
    const std::uint64_t before = thread_time_ns();
    auto done = pbkdf2(hash, salt, salt, iterations, std::span(derived).first(size));
    if (!done) return fail(std::move(done.error()));
    const std::uint64_t taken = thread_time_ns() - before;
    if (taken < kLongEnoughNs && iterations < (1U << 30)) continue;
    return iterations * kSecondNs / std::max<std::uint64_t>(taken, 1);
  }
}

Result<void> random_bytes(std::span<std::byte> into) {
  if (::RAND_priv_bytes(octets(into), static_cast<int>(into.size())) == 1) return {};
  return fail(ErrorKind::io, "The system has no random bytes to give");
}

}  // namespace platter
