// The forms in which a secret is given to --object: base64, and encrypted with another secret.
#pragma once

#include <cstddef>
#include <span>

#include "crypto/secret.h"
#include "io/error.h"

namespace platter::cli {

/// As QEMU: what is no letter of the alphabet is an error, line ends are passed over, and what is left over
/// at the end is dropped. Errors: invalid_argument, out_of_memory.
Result<Secret> decode_base64(std::span<const std::byte> text);

inline constexpr std::size_t kSecretKeySize = 32;  // bytes: AES-256

/// What is encrypted with another secret, by AES-256-CBC, with a padding that tells its own length.
struct EncryptedSecret {
  std::span<const std::byte> bytes;
  bool base64 = false;                   ///< so are the bytes
  std::span<const std::byte> iv_base64;  ///< the vector always is
};

/// REQUIRES: `key` has kSecretKeySize bytes. Errors, in qemu-img's words and order: invalid_argument (the
/// vector, the base64, the length, the padding).
Result<Secret> decrypt_secret(const EncryptedSecret& secret, const Secret& key);

}  // namespace platter::cli
