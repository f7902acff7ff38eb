#include "src/cli/secret_coding.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "crypto/block_cipher.h"

namespace platter::cli {
namespace {

constexpr std::size_t kBlockSize = 16;  // bytes: AES

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

}  // namespace

Result<Secret> decode_base64(std::span<const std::byte> text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Result<Secret> decoded = Secret::make(text.size() / 4 * 3 + 3);
  if (!decoded) return decoded;
  const std::span<std::byte> bytes = decoded->writable();
  std::size_t size = 0;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const std::byte byte : text) {
    const char letter = static_cast<char>(byte);
    if (letter == '\n' || letter == '\r' || letter == '=') continue;
    const std::size_t value = kAlphabet.find(letter);
    if (value == std::string_view::npos) return wrong("Base64 data contains invalid characters");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes[size++] = static_cast<std::byte>(bits >> count);
  }
  decoded->shrink(size);
  return decoded;
}

Result<Secret> decrypt_secret(const EncryptedSecret& secret, const Secret& key) {
  const Result<Secret> iv = decode_base64(secret.iv_base64);
  if (!iv) return fail(iv.error().clone());
  if (iv->size() != kBlockSize) {
    return wrong(fmt::format("IV should be {} bytes in length not {}", kBlockSize, iv->size()));
  }
  const Result<Secret> decoded = secret.base64 ? decode_base64(secret.bytes) : Secret();
  if (!decoded) return fail(decoded.error().clone());
  const std::span<const std::byte> coded = secret.base64 ? decoded->view() : secret.bytes;
  if (coded.size() % kBlockSize != 0) {
    return wrong(
        fmt::format("Length {} must be a multiple of block size {}", coded.size(), kBlockSize));
  }
  const CipherSpec spec{.key_bits = kSecretKeySize * 8, .mode = CipherMode::cbc};
  const auto cipher = make_block_cipher(spec, key.view());
  if (!cipher) return fail(cipher.error().clone());
  Result<Secret> plain = Secret::make(coded.size());
  if (!plain || plain->empty()) return plain;
  if (!(*cipher)->decrypt(iv->view().data(), coded.data(), plain->writable().data(),
                          coded.size())) {
    return fail(ErrorKind::io, "The cipher library fails");
  }
  const auto padding = std::to_integer<std::size_t>(plain->view().back());
  if (padding > kBlockSize || padding > plain->size()) {
    return wrong(
        fmt::format("Incorrect number of padding bytes ({}) found on decrypted data", padding));
  }
  plain->shrink(plain->size() - padding);
  return plain;
}

}  // namespace platter::cli
