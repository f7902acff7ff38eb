// A LUKS1 header that is known to make sense.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "crypto/cipher_spec.h"
#include "formats/luks/luks1_format.h"
#include "io/error.h"

namespace platter::luks {

/// Whether the payload lies in the header's file, behind it, or in one of its own, from the start.
enum class PayloadPlace : std::uint8_t { behind_header, own_file };

/// What places and counts it has are within bounds; nothing is known about the keys.
class Luks1Header {
 public:
  /// `bytes` begin with the header. Errors: unknown_format (no LUKS header), unsupported (another version, or
  /// a cipher or hash that is not offered), corrupt_image; in QEMU's words.
  static Result<Luks1Header> parse(std::span<const std::byte> bytes, PayloadPlace payload);
  /// One that was made here. REQUIRES: it would be parsed.
  Luks1Header(const Luks1DiskHeader& disk, CipherSpec spec) : disk_(disk), spec_(std::move(spec)) {}

  const Luks1DiskHeader& disk() const noexcept { return disk_; }
  Luks1DiskSlot& slot(unsigned number) noexcept { return disk_.slots[number]; }
  const Luks1DiskSlot& slot(unsigned number) const noexcept { return disk_.slots[number]; }
  bool is_active(unsigned number) const noexcept { return slot(number).active == kSlotActive; }
  unsigned active_slots() const noexcept;

  const CipherSpec& spec() const noexcept { return spec_; }
  std::string hash() const { return disk_.hash_spec; }
  std::string uuid() const;
  std::size_t key_size() const noexcept { return disk_.master_key_len; }
  /// Bytes that a slot's key material takes, in whole sectors.
  std::size_t material_size() const noexcept;
  std::uint64_t material_offset(unsigned number) const noexcept {
    return std::uint64_t{slot(number).key_offset_sector} * kSectorSize;
  }
  std::uint64_t payload_offset() const noexcept {
    return std::uint64_t{disk_.payload_offset_sector} * kSectorSize;
  }

 private:
  Luks1DiskHeader disk_;
  CipherSpec spec_;
};

/// Sectors from one slot's key material to the next one's.
std::uint64_t slot_sectors(std::uint64_t key_size, std::uint64_t stripes) noexcept;

}  // namespace platter::luks
