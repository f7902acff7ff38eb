// What OpenSSL lacks, by libgcrypt: Serpent, Twofish, CAST5, and AES-192 in XTS.
#include <gcrypt.h>

#include <utility>

#include "crypto/block_cipher.h"

namespace platter {
namespace {

// Once in a process, unless the program that we are part of has done it.
bool prepare_gcrypt() {
  static const bool ready = [] {
    if (::gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P) != 0) return true;
    if (::gcry_check_version(nullptr) == nullptr) return false;
    ::gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
    return ::gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0) == 0;
  }();
  return ready;
}

int algorithm_of(const CipherSpec& spec) {
  const auto by_size = [&](int small, int middle, int large) {
    return spec.key_bits == 128 ? small : spec.key_bits == 192 ? middle : large;
  };
  switch (spec.algorithm) {
    case CipherAlgorithm::aes:
      return by_size(GCRY_CIPHER_AES128, GCRY_CIPHER_AES192, GCRY_CIPHER_AES256);
    case CipherAlgorithm::serpent:
      return by_size(GCRY_CIPHER_SERPENT128, GCRY_CIPHER_SERPENT192, GCRY_CIPHER_SERPENT256);
    case CipherAlgorithm::twofish:
      return by_size(GCRY_CIPHER_TWOFISH128, GCRY_CIPHER_NONE, GCRY_CIPHER_TWOFISH);
    case CipherAlgorithm::cast5: return GCRY_CIPHER_CAST5;
  }
  return GCRY_CIPHER_NONE;
}

int mode_of(CipherMode mode) {
  switch (mode) {
    case CipherMode::ecb: return GCRY_CIPHER_MODE_ECB;
    case CipherMode::cbc: return GCRY_CIPHER_MODE_CBC;
    case CipherMode::xts: return GCRY_CIPHER_MODE_XTS;
    case CipherMode::ctr: return GCRY_CIPHER_MODE_CTR;
  }
  return GCRY_CIPHER_MODE_NONE;
}

class GcryptCipher final : public BlockCipher {
 public:
  explicit GcryptCipher(const CipherSpec& spec) : spec_(spec) {}
  ~GcryptCipher() override { ::gcry_cipher_close(handle_); }  // which wipes it

  bool init(std::span<const std::byte> key) {
    const int algorithm = algorithm_of(spec_);
    return algorithm != GCRY_CIPHER_NONE &&
           ::gcry_cipher_open(&handle_, algorithm, mode_of(spec_.mode), 0) == 0 &&
           ::gcry_cipher_setkey(handle_, key.data(), key.size()) == 0;
  }
  bool encrypt(const std::byte* iv, const std::byte* from, std::byte* to,
               std::size_t size) noexcept override {
    return set_iv(iv) && ::gcry_cipher_encrypt(handle_, to, size, source(from, to),
                                               source(from, to) == nullptr ? 0 : size) == 0;
  }
  bool decrypt(const std::byte* iv, const std::byte* from, std::byte* to,
               std::size_t size) noexcept override {
    return set_iv(iv) && ::gcry_cipher_decrypt(handle_, to, size, source(from, to),
                                               source(from, to) == nullptr ? 0 : size) == 0;
  }

 private:
  // In place is said by no source.
  static const std::byte* source(const std::byte* from, const std::byte* to) {
    return from == to ? nullptr : from;
  }
  bool set_iv(const std::byte* iv) noexcept {
    if (spec_.mode == CipherMode::ecb) return true;
    if (spec_.mode == CipherMode::ctr) {
      return ::gcry_cipher_setctr(handle_, iv, spec_.block_size()) == 0;
    }
    return ::gcry_cipher_setiv(handle_, iv, spec_.block_size()) == 0;
  }

  CipherSpec spec_;
  gcry_cipher_hd_t handle_ = nullptr;
};

}  // namespace

std::unique_ptr<BlockCipher> make_gcrypt_cipher(const CipherSpec& spec,
                                                std::span<const std::byte> key) {
  if (!prepare_gcrypt()) return nullptr;
  auto cipher = std::make_unique<GcryptCipher>(spec);
  if (!cipher->init(key)) return nullptr;
  return cipher;
}

}  // namespace platter
