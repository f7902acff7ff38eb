// AES by OpenSSL, which has the processor's instructions for it.
#include <openssl/evp.h>

#include <string>

#include <fmt/format.h>

#include "crypto/block_cipher.h"

namespace platter {
namespace {

const unsigned char* octets(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

// One direction, with the key set up.
class EvpContext {
 public:
  EvpContext() = default;
  EvpContext(const EvpContext&) = delete;
  EvpContext& operator=(const EvpContext&) = delete;
  ~EvpContext() { ::EVP_CIPHER_CTX_free(context_); }

  bool init(const EVP_CIPHER* cipher, const std::byte* key, bool encrypts) {
    if (context_ == nullptr) return false;
    const bool started = ::EVP_CipherInit_ex2(context_, cipher, octets(key), nullptr,
                                              encrypts ? 1 : 0, nullptr) == 1;
    has_iv_ = ::EVP_CIPHER_get_iv_length(cipher) > 0;
    // Only modes of blocks pad. A context that was told not to is told again with every vector, which
    // would take a tenth of the time of a sector.
    const bool pads = ::EVP_CIPHER_get_block_size(cipher) > 1;
    return started && (!pads || ::EVP_CIPHER_CTX_set_padding(context_, 0) == 1);
  }
  bool run(const std::byte* iv, const std::byte* from, std::byte* to, std::size_t size) noexcept {
    int written = 0;
    const bool ready =
        !has_iv_ || ::EVP_CipherInit_ex2(context_, nullptr, nullptr, octets(iv), -1, nullptr) == 1;
    return ready &&
           ::EVP_CipherUpdate(context_, reinterpret_cast<unsigned char*>(to), &written,
                              octets(from), static_cast<int>(size)) == 1 &&
           static_cast<std::size_t>(written) == size;
  }

 private:
  EVP_CIPHER_CTX* context_ = ::EVP_CIPHER_CTX_new();
  bool has_iv_ = true;
};

class OpensslCipher final : public BlockCipher {
 public:
  bool init(const char* name, const std::byte* key) {
    EVP_CIPHER* const cipher = ::EVP_CIPHER_fetch(nullptr, name, nullptr);
    const bool done =
        cipher != nullptr && encrypt_.init(cipher, key, true) && decrypt_.init(cipher, key, false);
    ::EVP_CIPHER_free(cipher);
    return done;
  }
  bool encrypt(const std::byte* iv, const std::byte* from, std::byte* to,
               std::size_t size) noexcept override {
    return encrypt_.run(iv, from, to, size);
  }
  bool decrypt(const std::byte* iv, const std::byte* from, std::byte* to,
               std::size_t size) noexcept override {
    return decrypt_.run(iv, from, to, size);
  }

 private:
  EvpContext encrypt_;
  EvpContext decrypt_;
};

}  // namespace

std::unique_ptr<BlockCipher> make_openssl_cipher(const CipherSpec& spec,
                                                 std::span<const std::byte> key) {
  if (spec.algorithm != CipherAlgorithm::aes) return nullptr;
  const std::string name = fmt::format("aes-{}-{}", spec.key_bits, to_string(spec.mode));
  auto cipher = std::make_unique<OpensslCipher>();
  if (!cipher->init(name.c_str(), key.data())) return nullptr;
  return cipher;
}

}  // namespace platter
