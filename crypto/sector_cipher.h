// Encrypts and decrypts sectors of a disk, many at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "crypto/cipher_spec.h"
#include "crypto/secret.h"
#include "io/error.h"

namespace platter {

/// Any number of threads at once: each run takes a context of its own from a few that are kept.
class SectorCipher {
 public:
  /// `sector_size` in bytes: 512 to 4096, a power of two. Errors: invalid_argument (key or sector size),
  /// unsupported (neither OpenSSL nor libgcrypt has the cipher).
  static Result<std::unique_ptr<SectorCipher>> create(const CipherSpec& spec, Secret key,
                                                      std::uint32_t sector_size);
  ~SectorCipher();
  SectorCipher(const SectorCipher&) = delete;
  SectorCipher& operator=(const SectorCipher&) = delete;

  const CipherSpec& spec() const noexcept { return spec_; }
  std::uint32_t sector_size() const noexcept { return sector_size_; }

  /// Whole sectors, `to` has as many bytes and may be `from`. `number`: the first sector's place on
  /// the disk in units of 512 bytes, which its initialisation vector is made of.
  /// Errors: io (the library fails): what is at `to` is of no use then.
  Result<void> encrypt(std::uint64_t number, std::span<const std::byte> from, std::byte* to);
  Result<void> decrypt(std::uint64_t number, std::span<const std::byte> from, std::byte* to);

 private:
  struct Context;
  class Lease;
  SectorCipher(const CipherSpec& spec, Secret key, std::uint32_t sector_size);
  Result<std::unique_ptr<Context>> make_context() const;
  Result<void> run(bool encrypts, std::uint64_t number, std::span<const std::byte> from,
                   std::byte* to);

  CipherSpec spec_;
  Secret key_;
  std::uint32_t sector_size_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Context>> idle_;  // under mutex_
};

}  // namespace platter
