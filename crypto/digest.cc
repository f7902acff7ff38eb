#include "crypto/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

namespace platter {
namespace {

// Ours and OpenSSL's.
struct Name {
  std::string_view name;
  const char* openssl;
};
constexpr std::array kNames = {
    Name{"md5", "MD5"},           Name{"sha1", "SHA1"},         Name{"sha224", "SHA224"},
    Name{"sha256", "SHA256"},     Name{"sha384", "SHA384"},     Name{"sha512", "SHA512"},
    Name{"sha3-256", "SHA3-256"}, Name{"sha3-512", "SHA3-512"}, Name{"blake2b", "BLAKE2b512"}};

constexpr auto kAlgorithms = [] {
  std::array<std::string_view, kNames.size()> names;
  std::ranges::transform(kNames, names.begin(), &Name::name);
  return names;
}();

std::unexpected<Error> refused(std::string_view operation) {
  return fail(ErrorKind::unsupported, "OpenSSL can't " + std::string(operation) + " this digest");
}

}  // namespace

struct Digest::State {
  EVP_MD_CTX* context = ::EVP_MD_CTX_new();
  EVP_MD* algorithm = nullptr;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    ::EVP_MD_CTX_free(context);
    ::EVP_MD_free(algorithm);
  }
};

Digest::Digest(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;
Digest::~Digest() = default;

std::span<const std::string_view> Digest::algorithms() noexcept { return kAlgorithms; }

Result<Digest> Digest::create(std::string_view algorithm) {
  const auto known = std::ranges::find(kNames, algorithm, &Name::name);
  if (known == kNames.end()) {
    return fail(ErrorKind::invalid_argument,
                "Unknown digest algorithm '" + std::string(algorithm) + "'");
  }
  auto state = std::make_unique<State>();
  state->algorithm = ::EVP_MD_fetch(nullptr, known->openssl, nullptr);
  if (state->context == nullptr || state->algorithm == nullptr ||
      ::EVP_DigestInit_ex(state->context, state->algorithm, nullptr) != 1) {
    return refused("begin");
  }
  return Digest(std::move(state));
}

Result<void> Digest::update(std::span<const std::byte> bytes) {
  if (::EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1)
    return refused("go on with");
  return {};
}

Result<std::vector<std::byte>> Digest::finish() {
  std::vector<std::byte> digest(EVP_MAX_MD_SIZE);
  unsigned size = 0;
  auto* const bytes = reinterpret_cast<unsigned char*>(digest.data());
  if (::EVP_DigestFinal_ex(state_->context, bytes, &size) != 1) return refused("end");
  digest.resize(size);
  return digest;
}

std::string hex_text(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte >> 4)];
    text += kDigits[std::to_integer<unsigned>(byte & std::byte{15})];
  }
  return text;
}

}  // namespace platter
