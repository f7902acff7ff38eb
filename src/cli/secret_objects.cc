#include "src/cli/secret_objects.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "crypto/block_cipher.h"

namespace platter::cli {
namespace {

constexpr unsigned kKeyBits = 256;
constexpr std::size_t kBlockSize = 16;  // bytes: AES

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

// A vector is no secret.
Result<std::vector<std::byte>> decode_base64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::vector<std::byte> bytes;
  std::uint32_t bits = 0;
  unsigned count = 0;
  for (const char letter : text) {
    if (letter == '\n' || letter == '\r' || letter == '=') continue;
    const std::size_t value = kAlphabet.find(letter);
    if (value == std::string_view::npos) return wrong("Base64 data contains invalid characters");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<std::byte>(bits >> count));
  }
  return bytes;
}

// AES-256-CBC, filled up at the end with bytes that tell how many they are.
Result<Secret> decrypt(std::span<const std::byte> coded, const Secret& key,
                       const std::string& iv_text) {
  const auto iv = decode_base64(iv_text);
  if (!iv) return fail(iv.error().clone());
  if (iv->size() != kBlockSize) {
    return wrong(fmt::format("IV should be {} bytes in length not {}", kBlockSize, iv->size()));
  }
  if (coded.size() % kBlockSize != 0) {
    return wrong(
        fmt::format("Length {} must be a multiple of block size {}", coded.size(), kBlockSize));
  }
  const CipherSpec spec{.key_bits = kKeyBits, .mode = CipherMode::cbc};
  const auto cipher = make_block_cipher(spec, key.view());
  if (!cipher) return fail(cipher.error().clone());
  Result<Secret> plain = Secret::make(coded.size());
  if (!plain || plain->empty()) return plain;
  if (!(*cipher)->decrypt(iv->data(), coded.data(), plain->writable().data(), coded.size())) {
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

}  // namespace

Result<std::unique_ptr<SecretStore>> make_secret_store(const Objects& objects) {
  auto store = std::make_unique<SecretStore>();
  for (const SecretObject& object : objects.secrets) {
    Result<Secret> secret = Secret::copy_of(object.data);
    if (secret && object.keyid) {
      const Result<Secret> key = store->get(*object.keyid);
      secret = key ? decrypt(object.data, *key, object.iv.value_or(""))
                   : Result<Secret>(fail(key.error().clone()));
    }
    if (!secret) return fail(std::move(secret.error()));
    store->put(object.id, *std::move(secret));
  }
  return store;
}

}  // namespace platter::cli
