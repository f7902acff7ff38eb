#include "crypto/block_cipher.h"

#include <fmt/format.h>

#include "io/check.h"

namespace platter {

Result<std::unique_ptr<BlockCipher>> make_block_cipher(const CipherSpec& spec,
                                                       std::span<const std::byte> key) {
  PLATTER_CHECK(key.size() == spec.key_size());
  std::unique_ptr<BlockCipher> cipher = make_openssl_cipher(spec, key);
  if (!cipher) cipher = make_gcrypt_cipher(spec, key);
  if (cipher) return cipher;
  return fail(ErrorKind::unsupported,
              fmt::format("Cipher '{}-{}' with keys of {} bits is not offered here",
                          to_string(spec.algorithm), spec.mode_text(), spec.key_bits));
}

}  // namespace platter
