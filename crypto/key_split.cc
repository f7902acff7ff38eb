#include "crypto/key_split.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "crypto/key_hash.h"
#include "crypto/secret.h"
#include "io/bytes.h"
#include "io/check.h"

namespace platter {
namespace {

void mix_in(std::span<std::byte> block, std::span<const std::byte> stripe) {
  for (std::size_t i = 0; i < block.size(); ++i) block[i] ^= stripe[i];
}

// Mixes a stripe into what the stripes before it left, and spreads each of its bits.
class Diffuser {
 public:
  static Result<Diffuser> create(std::string_view hash, std::size_t key_size) {
    const auto size = key_hash_size(hash);
    if (!size) return fail(ErrorKind::unsupported, "Hash '" + std::string(hash) + "' is unknown");
    Result<Secret> memory = Secret::make(key_size + sizeof(be32) + 2 * *size);
    if (!memory) return fail(std::move(memory.error()));
    return Diffuser(hash, *size, key_size, *std::move(memory));
  }

  std::span<std::byte> block() noexcept { return memory_.writable().first(key_size_); }

  // Each piece of the block becomes the hash of its number and itself.
  Result<void> diffuse() {
    const std::span<std::byte> rest = memory_.writable().subspan(key_size_);
    const std::span<std::byte> input = rest.first(sizeof(be32) + hash_size_);
    const std::span<std::byte> output = rest.subspan(input.size(), hash_size_);
    for (std::size_t at = 0; at < key_size_; at += hash_size_) {
      const std::span<std::byte> piece = block().subspan(at, std::min(hash_size_, key_size_ - at));
      const be32 number(static_cast<std::uint32_t>(at / hash_size_));
      std::memcpy(input.data(), &number, sizeof number);
      std::ranges::copy(piece, input.begin() + sizeof number);
      auto done = key_hash(hash_, input.first(sizeof number + piece.size()), output);
      if (!done) return done;
      std::ranges::copy(output.first(piece.size()), piece.begin());
    }
    return {};
  }

 private:
  Diffuser(std::string_view hash, std::size_t hash_size, std::size_t key_size, Secret memory)
      : hash_(hash), hash_size_(hash_size), key_size_(key_size), memory_(std::move(memory)) {}

  std::string_view hash_;
  std::size_t hash_size_;
  std::size_t key_size_;
  Secret memory_;  // the block, what is hashed, the hash
};

}  // namespace

Result<void> split_key(std::string_view hash, std::span<const std::byte> key, std::uint32_t stripes,
                       std::span<std::byte> split) {
  PLATTER_CHECK(stripes > 0 && split.size() == key.size() * stripes);
  Result<Diffuser> diffuser = Diffuser::create(hash, key.size());
  if (!diffuser) return fail(std::move(diffuser.error()));
  const std::span<std::byte> last = split.last(key.size());
  if (auto done = random_bytes(split.first(split.size() - last.size())); !done) return done;
  for (std::uint32_t i = 0; i + 1 < stripes; ++i) {
    mix_in(diffuser->block(), split.subspan(i * key.size(), key.size()));
    if (auto done = diffuser->diffuse(); !done) return done;
  }
  std::ranges::copy(key, last.begin());
  mix_in(last, diffuser->block());
  return {};
}

Result<void> merge_key(std::string_view hash, std::span<const std::byte> split,
                       std::uint32_t stripes, std::span<std::byte> key) {
  PLATTER_CHECK(stripes > 0 && split.size() == key.size() * stripes);
  Result<Diffuser> diffuser = Diffuser::create(hash, key.size());
  if (!diffuser) return fail(std::move(diffuser.error()));
  for (std::uint32_t i = 0; i + 1 < stripes; ++i) {
    mix_in(diffuser->block(), split.subspan(i * key.size(), key.size()));
    if (auto done = diffuser->diffuse(); !done) return done;
  }
  mix_in(diffuser->block(), split.last(key.size()));
  std::ranges::copy(diffuser->block(), key.begin());
  return {};
}

}  // namespace platter
