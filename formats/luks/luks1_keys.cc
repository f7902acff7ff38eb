#include "formats/luks/luks1_keys.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "crypto/key_hash.h"
#include "crypto/key_split.h"
#include "crypto/sector_cipher.h"
#include "io/ring.h"

namespace platter::luks {
namespace {

constexpr std::uint32_t kIterationsMin = 1000;

template <std::size_t size>
std::span<const std::byte> bytes_of(const std::uint8_t (&octets)[size]) {
  return std::as_bytes(std::span(octets));
}

// The cipher of a slot's material: the payload's own, with the passphrase's key.
Result<std::unique_ptr<SectorCipher>> material_cipher(const Luks1Header& header, unsigned number,
                                                      Passphrase passphrase) {
  const Luks1DiskSlot& slot = header.slot(number);
  Result<Secret> key = Secret::make(header.key_size());
  if (!key) return fail(std::move(key.error()));
  if (auto done =
          pbkdf2(header.hash(), passphrase, bytes_of(slot.salt), slot.iterations, key->writable());
      !done) {
    return fail(std::move(done.error()));
  }
  return SectorCipher::create(header.spec(), *std::move(key), kSectorSize);
}

Result<bool> is_master_key(const Luks1Header& header, const Secret& key) {
  const Luks1DiskHeader& disk = header.disk();
  Result<Secret> digest = Secret::make(kDigestSize);
  if (!digest) return fail(std::move(digest.error()));
  if (auto done = pbkdf2(header.hash(), key.view(), bytes_of(disk.master_key_salt),
                         disk.master_key_iterations, digest->writable());
      !done) {
    return fail(std::move(done.error()));
  }
  return digest->equals(bytes_of(disk.master_key_digest));
}

// On a worker: the master key out of a slot's material, or nothing.
Result<std::optional<Secret>> open_material(const Luks1Header& header, unsigned number,
                                            Passphrase passphrase,
                                            std::span<const std::byte> material) {
  auto cipher = material_cipher(header, number, passphrase);
  if (!cipher) return fail(std::move(cipher.error()));
  Result<Secret> split = Secret::make(material.size());
  if (!split) return fail(std::move(split.error()));
  if (auto done = (*cipher)->decrypt(0, material, split->writable().data()); !done) {
    return fail(std::move(done.error()));
  }
  Result<Secret> key = Secret::make(header.key_size());
  if (!key) return fail(std::move(key.error()));
  const auto stripes = split->view().first(header.key_size() * kStripes);
  if (auto done = merge_key(header.hash(), stripes, kStripes, key->writable()); !done) {
    return fail(std::move(done.error()));
  }
  const Result<bool> fits = is_master_key(header, *key);
  if (!fits) return fail(fits.error().clone());
  if (!*fits) return std::nullopt;
  return std::optional(*std::move(key));
}

// On a worker: a slot's material for the key.
Result<std::vector<std::byte>> make_material(const Luks1Header& header, unsigned number,
                                             Passphrase passphrase, const Secret& key) {
  auto cipher = material_cipher(header, number, passphrase);
  if (!cipher) return fail(std::move(cipher.error()));
  Result<Secret> split = Secret::make(header.material_size());
  if (!split) return fail(std::move(split.error()));
  const auto stripes = split->writable().first(header.key_size() * kStripes);
  if (auto done = split_key(header.hash(), key.view(), kStripes, stripes); !done) {
    return fail(std::move(done.error()));
  }
  std::vector<std::byte> material(split->size());
  if (auto done = (*cipher)->encrypt(0, split->view(), material.data()); !done) {
    return fail(std::move(done.error()));
  }
  return material;
}

Result<void> check_cost(const Luks1Header& header, unsigned number, const KeyCostLimits& limits) {
  const std::uint32_t iterations = header.slot(number).iterations;
  const std::uint32_t digest = header.disk().master_key_iterations;
  const std::uint32_t most = std::max(iterations, digest);
  if (most <= limits.pbkdf2_iterations_max) return {};
  return fail(ErrorKind::too_large,
              fmt::format("Keyslot {} asks for {} iterations, over the limit of {}", number, most,
                          limits.pbkdf2_iterations_max));
}

}  // namespace

Task<std::optional<Secret>> unlock_slot(HeaderPlace place, const Luks1Header& header,
                                        unsigned number, Passphrase passphrase,
                                        KeyCostLimits limits) {
  co_await check_cost(header, number, limits);
  std::vector<std::byte> material(header.material_size());
  const std::size_t count =
      co_await place.file.read(place.offset + header.material_offset(number), material);
  if (count < material.size()) {
    co_return fail(
        ErrorKind::corrupt_image,
        fmt::format("'{}' ends within the key material of keyslot {}", place.file.name(), number));
  }
  auto work = [&] { return open_material(header, number, passphrase, material); };
  co_return co_await co_await Ring::current().offload(work);
}

Task<UnlockedKey> unlock_luks1(HeaderPlace place, const Luks1Header& header, Passphrase passphrase,
                               KeyCostLimits limits) {
  for (unsigned number = 0; number < kSlots; ++number) {
    if (!header.is_active(number)) continue;
    std::optional<Secret> key = co_await unlock_slot(place, header, number, passphrase, limits);
    if (key) co_return UnlockedKey{.key = *std::move(key), .slot = number};
  }
  co_return fail(ErrorKind::permission, "Invalid password, cannot unlock any keyslot");
}

Task<std::uint32_t> slot_iterations(const Luks1Header& header, std::uint32_t time_ms) {
  const std::string hash = header.hash();
  const std::size_t size = header.key_size();
  auto work = [&] { return pbkdf2_iterations_per_second(hash, size); };
  const std::uint64_t each_second = co_await co_await Ring::current().offload(work);
  const std::uint64_t wanted = each_second * time_ms / 1000;
  // A slot that asks for more would not be opened here.
  constexpr std::uint64_t kMax = KeyCostLimits{}.pbkdf2_iterations_max;
  co_return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(wanted, kIterationsMin, kMax));
}

Task<void> write_header(HeaderPlace place, const Luks1Header& header) {
  co_await place.file.write(place.offset, std::as_bytes(std::span(&header.disk(), 1)));
}

Task<void> fill_slot(HeaderPlace place, Luks1Header& header, unsigned number, const Secret& key,
                     Passphrase passphrase, std::uint32_t iterations) {
  Luks1DiskSlot& slot = header.slot(number);
  co_await random_bytes(std::as_writable_bytes(std::span(slot.salt)));
  slot.iterations = iterations;
  auto work = [&] { return make_material(header, number, passphrase, key); };
  const std::vector<std::byte> material = co_await co_await Ring::current().offload(work);
  co_await place.file.write(place.offset + header.material_offset(number), material);
  co_await place.file.flush();
  slot.active = kSlotActive;
  co_await write_header(place, header);
  co_await place.file.flush();
}

Task<void> erase_slot(HeaderPlace place, Luks1Header& header, unsigned number) {
  Luks1DiskSlot& slot = header.slot(number);
  slot.active = kSlotInactive;
  slot.iterations = 0;
  std::ranges::fill(slot.salt, std::uint8_t{0});
  co_await write_header(place, header);
  co_await place.file.flush();
  std::vector<std::byte> noise(header.material_size());
  co_await random_bytes(noise);
  co_await place.file.write(place.offset + header.material_offset(number), noise);
  co_await place.file.flush();
}

}  // namespace platter::luks
