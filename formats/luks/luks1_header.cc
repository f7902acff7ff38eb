#include "formats/luks/luks1_header.h"

#include <string.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "crypto/key_hash.h"

namespace platter::luks {
namespace {

constexpr std::uint64_t kHeaderSectors = kKeyAlignment / kSectorSize;

std::unexpected<Error> corrupt(std::string message) {
  return fail(ErrorKind::corrupt_image, std::move(message));
}

template <std::size_t size>
bool ends(const char (&text)[size]) {
  return std::memchr(text, 0, size) != nullptr;
}

Result<void> check_texts(const Luks1DiskHeader& header) {
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0) {
    return fail(ErrorKind::unknown_format, "Volume is not in LUKS format");
  }
  if (header.version != kVersion1) {
    return fail(ErrorKind::unsupported,
                fmt::format("LUKS version {} is not supported", std::uint16_t{header.version}));
  }
  if (!ends(header.cipher_name)) return corrupt("LUKS header cipher name is not NUL terminated");
  if (!ends(header.cipher_mode)) return corrupt("LUKS header cipher mode is not NUL terminated");
  if (!ends(header.hash_spec)) return corrupt("LUKS header hash spec is not NUL terminated");
  return {};
}

struct SectorRange {
  std::uint64_t begin;
  std::uint64_t end;
};

SectorRange material_of(const Luks1DiskHeader& header, unsigned slot) {
  const Luks1DiskSlot& described = header.slots[slot];
  const std::uint64_t begin = described.key_offset_sector;
  return {begin, begin + slot_sectors(header.master_key_len, described.stripes)};
}

Result<void> check_slot(const Luks1DiskHeader& header, unsigned number, PayloadPlace payload) {
  const Luks1DiskSlot& slot = header.slots[number];
  if (slot.stripes != kStripes) {
    return corrupt(fmt::format("Keyslot {} is corrupted (stripes {} != {})", number,
                               std::uint32_t{slot.stripes}, kStripes));
  }
  if (slot.active != kSlotActive && slot.active != kSlotInactive) {
    return corrupt(fmt::format("Keyslot {} state (active/disable) is corrupted", number));
  }
  if (slot.active == kSlotActive && slot.iterations == 0) {
    return corrupt(fmt::format("Keyslot {} iteration count is zero", number));
  }
  const SectorRange own = material_of(header, number);
  if (own.begin < kHeaderSectors) {
    return corrupt(fmt::format("Keyslot {} is overlapping with the LUKS header", number));
  }
  if (payload == PayloadPlace::behind_header && own.end > header.payload_offset_sector) {
    return corrupt(fmt::format("Keyslot {} is overlapping with the encrypted payload", number));
  }
  for (unsigned later = number + 1; later < kSlots; ++later) {
    const SectorRange other = material_of(header, later);
    if (own.end > other.begin && other.end > own.begin) {
      return corrupt(
          fmt::format("Keyslots {} and {} are overlapping in the header", number, later));
    }
  }
  return {};
}

Result<void> check_places(const Luks1DiskHeader& header, PayloadPlace payload) {
  if (payload == PayloadPlace::behind_header && header.payload_offset_sector < kHeaderSectors) {
    return corrupt("LUKS payload is overlapping with the header");
  }
  if (header.master_key_iterations == 0) return corrupt("LUKS key iteration count is zero");
  for (unsigned number = 0; number < kSlots; ++number) {
    if (auto checked = check_slot(header, number, payload); !checked) return checked;
  }
  return {};
}

// The words that QEMU has for what of a cipher it does not know.
Result<CipherSpec> spec_of(const Luks1DiskHeader& header) {
  const std::string mode = header.cipher_mode;
  if (!mode.contains('-')) {
    return fail(ErrorKind::unsupported,
                fmt::format("Unexpected cipher mode string format '{}'", mode));
  }
  if (mode.ends_with("-essiv")) {
    return fail(ErrorKind::unsupported, "Missing IV generator hash specification");
  }
  if (!key_hash_size(header.hash_spec)) {
    return fail(ErrorKind::unsupported,
                fmt::format("Hash algorithm '{}' is not recognized", header.hash_spec));
  }
  return parse_cipher_spec(header.cipher_name, mode, header.master_key_len);
}

}  // namespace

std::uint64_t slot_sectors(std::uint64_t key_size, std::uint64_t stripes) noexcept {
  return align_up(key_size * stripes, kKeyAlignment) / kSectorSize;
}

Result<Luks1Header> Luks1Header::parse(std::span<const std::byte> bytes, PayloadPlace payload) {
  Luks1DiskHeader header{};
  if (bytes.size() < sizeof header) {
    return fail(ErrorKind::unknown_format, "Volume is too short for a LUKS header");
  }
  std::memcpy(&header, bytes.data(), sizeof header);
  if (auto checked = check_texts(header); !checked) return fail(std::move(checked.error()));
  if (auto checked = check_places(header, payload); !checked) {
    return fail(std::move(checked.error()));
  }
  Result<CipherSpec> spec = spec_of(header);
  if (!spec) return fail(std::move(spec.error()));
  return Luks1Header(header, *std::move(spec));
}

unsigned Luks1Header::active_slots() const noexcept {
  return static_cast<unsigned>(std::ranges::count_if(
      disk_.slots, [](const Luks1DiskSlot& slot) { return slot.active == kSlotActive; }));
}

std::string Luks1Header::uuid() const {
  return {disk_.uuid, ::strnlen(disk_.uuid, sizeof disk_.uuid)};
}

std::size_t Luks1Header::material_size() const noexcept {
  return align_up(key_size() * kStripes, kSectorSize);
}

}  // namespace platter::luks
