// One cipher with one key in one mode: OpenSSL's, or libgcrypt's where OpenSSL lacks it. Internal to
// crypto/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "crypto/cipher_spec.h"
#include "io/error.h"

namespace platter {

/// One thread at a time. Its key schedule is in ordinary memory, wiped at the end.
class BlockCipher {
 public:
  static constexpr std::size_t kIvSize = 16;

  virtual ~BlockCipher() = default;
  BlockCipher() = default;
  BlockCipher(const BlockCipher&) = delete;
  BlockCipher& operator=(const BlockCipher&) = delete;

  /// One run of whole blocks, from its own initialisation vector (kIvSize bytes, of which a block's are
  /// used; ecb has none). `to` may be `from`. False if the library failed.
  virtual bool encrypt(const std::byte* iv, const std::byte* from, std::byte* to,
                       std::size_t size) noexcept = 0;
  virtual bool decrypt(const std::byte* iv, const std::byte* from, std::byte* to,
                       std::size_t size) noexcept = 0;
};

/// `key` has spec.key_size() bytes. Errors: unsupported (neither library has it, or it is set up
/// without).
Result<std::unique_ptr<BlockCipher>> make_block_cipher(const CipherSpec& spec,
                                                       std::span<const std::byte> key);

/// Null where OpenSSL has no such cipher.
std::unique_ptr<BlockCipher> make_openssl_cipher(const CipherSpec& spec,
                                                 std::span<const std::byte> key);
/// Null where libgcrypt has no such cipher.
std::unique_ptr<BlockCipher> make_gcrypt_cipher(const CipherSpec& spec,
                                                std::span<const std::byte> key);

}  // namespace platter
