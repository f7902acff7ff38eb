#include "formats/luks/luks1_create.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "crypto/key_hash.h"
#include "crypto/sector_cipher.h"
#include "io/ring.h"

namespace platter::luks {
namespace {

// A guess at the master key's digest costs an eighth of one at a passphrase, as in cryptsetup.
constexpr std::uint32_t kDigestShare = 8;

template <std::size_t size>
void put_text(char (&field)[size], const std::string& text) {
  std::memcpy(field, text.data(), std::min(text.size(), size - 1));
}

// Random, version 4.
Result<std::string> make_uuid() {
  std::array<std::byte, 16> bytes{};
  if (auto done = random_bytes(bytes); !done) return fail(std::move(done.error()));
  bytes[6] = (bytes[6] & std::byte{0x0f}) | std::byte{0x40};
  bytes[8] = (bytes[8] & std::byte{0x3f}) | std::byte{0x80};
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", std::to_integer<unsigned>(bytes[i]));
  }
  return text;
}

Result<void> set_digest(Luks1DiskHeader& disk, const Secret& key) {
  return pbkdf2(disk.hash_spec, key.view(), std::as_bytes(std::span(disk.master_key_salt)),
                disk.master_key_iterations,
                std::as_writable_bytes(std::span(disk.master_key_digest)));
}

// The texts of a header: "ecb-plain64", too, which means no vector at all.
std::string mode_words(const Luks1CreateOptions& options) {
  std::string words = fmt::format("{}-{}", to_string(options.mode), to_string(options.iv));
  if (options.iv_hash) {
    words += ":" + *options.iv_hash;
  } else if (options.iv == IvGenerator::essiv) {
    words += ":sha256";
  }
  return words;
}

}  // namespace

Result<Luks1Header> plan_luks1(const Luks1CreateOptions& options) {
  const std::size_t keys = options.mode == CipherMode::xts ? 2 : 1;
  const std::size_t key_size = options.key_bits / 8 * keys;
  const std::string mode = mode_words(options);
  Result<CipherSpec> spec = parse_cipher_spec(to_string(options.algorithm), mode, key_size);
  if (!spec) return fail(std::move(spec.error()));
  if (!key_hash_size(options.hash)) {
    return fail(ErrorKind::unsupported,
                fmt::format("Hash algorithm '{}' is not recognized", options.hash));
  }
  // Known now, not when half of it is written: whether there is such a cipher here.
  Result<Secret> trial = Secret::make(key_size);
  if (trial) trial->writable()[0] = std::byte{1};  // xts wants two keys that differ
  if (!trial) return fail(std::move(trial.error()));
  if (auto cipher = SectorCipher::create(*spec, *std::move(trial), kSectorSize); !cipher) {
    return fail(std::move(cipher.error()));
  }
  Luks1DiskHeader disk{};
  std::memcpy(disk.magic, kMagic, sizeof kMagic);
  disk.version = kVersion1;
  put_text(disk.cipher_name, std::string(to_string(options.algorithm)));
  put_text(disk.cipher_mode, mode);
  put_text(disk.hash_spec, options.hash);
  disk.master_key_len = static_cast<std::uint32_t>(key_size);
  const std::uint64_t first = kKeyAlignment / kSectorSize;
  const std::uint64_t each = slot_sectors(key_size, kStripes);
  for (unsigned number = 0; number < kSlots; ++number) {
    disk.slots[number].active = kSlotInactive;
    disk.slots[number].stripes = kStripes;
    disk.slots[number].key_offset_sector = static_cast<std::uint32_t>(first + number * each);
  }
  disk.payload_offset_sector = static_cast<std::uint32_t>(first + kSlots * each);
  return Luks1Header(disk, *std::move(spec));
}

Task<Secret> create_luks1(HeaderPlace place, Luks1Header& header, Passphrase passphrase,
                          std::uint32_t time_ms) {
  Luks1DiskHeader disk = header.disk();
  put_text(disk.uuid, co_await make_uuid());
  co_await random_bytes(std::as_writable_bytes(std::span(disk.master_key_salt)));
  const std::uint32_t iterations = co_await slot_iterations(header, time_ms);
  disk.master_key_iterations = std::max(iterations / kDigestShare, std::uint32_t{1000});
  Secret key = co_await Secret::make(header.key_size());
  co_await random_bytes(key.writable());
  auto digest = [&] { return set_digest(disk, key); };
  co_await co_await Ring::current().offload(digest);
  header = Luks1Header(disk, header.spec());
  co_await fill_slot(place, header, 0, key, passphrase, iterations);
  co_return key;
}

}  // namespace platter::luks
