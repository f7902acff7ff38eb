#include "crypto/sector_cipher.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "crypto/block_cipher.h"
#include "crypto/key_hash.h"
#include "io/bytes.h"
#include "io/check.h"

namespace platter {
namespace {

// Vectors are made for so many sectors at a time.
constexpr std::size_t kBatch = 32;

using Iv = std::array<std::byte, BlockCipher::kIvSize>;

Iv plain_iv(IvGenerator generator, std::uint64_t number) {
  if (generator == IvGenerator::plain) number &= 0xffffffffU;
  if constexpr (std::endian::native == std::endian::big) number = __builtin_bswap64(number);
  Iv iv{};
  std::memcpy(iv.data(), &number, sizeof number);
  return iv;
}

// What encrypts essiv's vectors: the same cipher, with the hash of the key.
Result<std::unique_ptr<BlockCipher>> make_essiv(const CipherSpec& spec, const Secret& key) {
  const std::size_t size = key_hash_size(spec.iv_hash).value_or(0);
  CipherSpec own{.algorithm = spec.algorithm,
                 .key_bits = static_cast<unsigned>(size * 8),
                 .mode = CipherMode::ecb,
                 .iv = IvGenerator::none};
  if (size == 0 || !check_cipher_spec(own)) {
    return fail(ErrorKind::unsupported,
                fmt::format("Cipher '{}-{}': hashes by '{}' are no keys for it",
                            to_string(spec.algorithm), spec.mode_text(), spec.iv_hash));
  }
  Result<Secret> hashed = Secret::make(size);
  if (!hashed) return fail(std::move(hashed.error()));
  if (auto done = key_hash(spec.iv_hash, key.view(), hashed->writable()); !done) {
    return fail(std::move(done.error()));
  }
  return make_block_cipher(own, hashed->view());
}

}  // namespace

struct SectorCipher::Context {
  std::unique_ptr<BlockCipher> sectors;
  std::unique_ptr<BlockCipher> essiv;  // or null
  std::array<Iv, kBatch> ivs;

  bool make_ivs(const CipherSpec& spec, std::uint64_t number, std::uint64_t step,
                std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) ivs[i] = plain_iv(spec.iv, number + i * step);
    if (!essiv) return true;
    const std::size_t block = spec.block_size();
    for (std::size_t i = 0; i < count; ++i) {
      if (!essiv->encrypt(ivs[i].data(), ivs[i].data(), ivs[i].data(), block)) return false;
    }
    return true;
  }
};

// A context for one run; goes back afterwards.
class SectorCipher::Lease {
 public:
  static Result<Lease> take(SectorCipher& owner) {
    {
      const std::scoped_lock lock(owner.mutex_);
      if (!owner.idle_.empty()) {
        Lease lease(owner, std::move(owner.idle_.back()));
        owner.idle_.pop_back();
        return lease;
      }
    }
    Result<std::unique_ptr<Context>> made = owner.make_context();
    if (!made) return fail(std::move(made.error()));
    return Lease(owner, *std::move(made));
  }
  Lease(Lease&&) noexcept = default;
  Lease& operator=(Lease&&) = delete;
  Lease(const Lease&) = delete;
  ~Lease() {
    if (!context_) return;
    const std::scoped_lock lock(owner_->mutex_);
    owner_->idle_.push_back(std::move(context_));
  }
  Context& operator*() const noexcept { return *context_; }

 private:
  Lease(SectorCipher& owner, std::unique_ptr<Context> context)
      : owner_(&owner), context_(std::move(context)) {}
  SectorCipher* owner_;
  std::unique_ptr<Context> context_;
};

SectorCipher::SectorCipher(const CipherSpec& spec, Secret key, std::uint32_t sector_size)
    : spec_(spec), key_(std::move(key)), sector_size_(sector_size) {}
SectorCipher::~SectorCipher() = default;

Result<std::unique_ptr<SectorCipher>> SectorCipher::create(const CipherSpec& spec, Secret key,
                                                           std::uint32_t sector_size) {
  if (auto checked = check_cipher_spec(spec); !checked) return fail(std::move(checked.error()));
  if (key.size() != spec.key_size()) {
    return fail(
        ErrorKind::invalid_argument,
        fmt::format("The key has {} bytes where the cipher needs {}", key.size(), spec.key_size()));
  }
  if (!std::has_single_bit(sector_size) || sector_size < kSectorSize || sector_size > 4096) {
    return fail(ErrorKind::invalid_argument,
                fmt::format("Sectors can't have {} bytes", sector_size));
  }
  std::unique_ptr<SectorCipher> cipher(new SectorCipher(spec, std::move(key), sector_size));
  Result<std::unique_ptr<Context>> context = cipher->make_context();
  if (!context) return fail(std::move(context.error()));
  cipher->idle_.push_back(*std::move(context));
  return cipher;
}

Result<std::unique_ptr<SectorCipher::Context>> SectorCipher::make_context() const {
  auto context = std::make_unique<Context>();
  Result<std::unique_ptr<BlockCipher>> sectors = make_block_cipher(spec_, key_.view());
  if (!sectors) return fail(std::move(sectors.error()));
  context->sectors = *std::move(sectors);
  if (spec_.iv != IvGenerator::essiv) return context;
  Result<std::unique_ptr<BlockCipher>> essiv = make_essiv(spec_, key_);
  if (!essiv) return fail(std::move(essiv.error()));
  context->essiv = *std::move(essiv);
  return context;
}

Result<void> SectorCipher::encrypt(std::uint64_t number, std::span<const std::byte> from,
                                   std::byte* to) {
  return run(true, number, from, to);
}

Result<void> SectorCipher::decrypt(std::uint64_t number, std::span<const std::byte> from,
                                   std::byte* to) {
  return run(false, number, from, to);
}

Result<void> SectorCipher::run(bool encrypts, std::uint64_t number, std::span<const std::byte> from,
                               std::byte* to) {
  PLATTER_CHECK(from.size() % sector_size_ == 0);
  Result<Lease> lease = Lease::take(*this);
  if (!lease) return fail(std::move(lease.error()));
  Context& context = **lease;
  const std::uint64_t step = sector_size_ / kSectorSize;
  const std::size_t sectors = from.size() / sector_size_;
  bool good = true;
  for (std::size_t first = 0; first < sectors && good; first += kBatch) {
    const std::size_t count = std::min(kBatch, sectors - first);
    good = context.make_ivs(spec_, number + first * step, step, count);
    for (std::size_t i = 0; i < count && good; ++i) {
      const std::size_t at = (first + i) * sector_size_;
      const std::byte* const iv = context.ivs[i].data();
      good = encrypts ? context.sectors->encrypt(iv, from.data() + at, to + at, sector_size_)
                      : context.sectors->decrypt(iv, from.data() + at, to + at, sector_size_);
    }
  }
  if (good) return {};
  return fail(ErrorKind::io, fmt::format("The cipher library fails at sector {}", number));
}

}  // namespace platter
