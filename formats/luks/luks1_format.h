// The LUKS1 header on disk, as in "LUKS1 On-Disk Format Specification", version 1.2.3.
//
// The header takes the first 592 bytes; key material of eight slots follows at 4 KiB and on; then the
// payload, encrypted sectors counted from its start. All integers are big-endian; places are counted in
// sectors of 512 bytes. Texts end with a zero byte.
#pragma once

#include <cstddef>
#include <cstdint>

#include "io/bytes.h"

namespace platter::luks {

inline constexpr char kMagic[6] = {'L', 'U', 'K', 'S', '\xba', '\xbe'};
inline constexpr std::uint16_t kVersion1 = 1;
inline constexpr unsigned kSlots = 8;
inline constexpr std::uint32_t kSlotActive = 0x00ac71f3;
inline constexpr std::uint32_t kSlotInactive = 0x0000dead;
inline constexpr std::uint32_t kStripes = 4000;
inline constexpr std::size_t kSaltSize = 32;    // bytes
inline constexpr std::size_t kDigestSize = 20;  // bytes
/// Key material lies at multiples of it, behind the header.
inline constexpr std::uint64_t kKeyAlignment = 4096;  // bytes

struct Luks1DiskSlot {
  be32 active;             // 0   kSlotActive, kSlotInactive
  be32 iterations;         // 4
  std::uint8_t salt[32];   // 8
  be32 key_offset_sector;  // 40
  be32 stripes;            // 44
};
static_assert(sizeof(Luks1DiskSlot) == 48 && alignof(Luks1DiskSlot) == 1);

struct Luks1DiskHeader {
  char magic[6];                       // 0
  be16 version;                        // 6
  char cipher_name[32];                // 8
  char cipher_mode[32];                // 40
  char hash_spec[32];                  // 72
  be32 payload_offset_sector;          // 104
  be32 master_key_len;                 // 108  bytes
  std::uint8_t master_key_digest[20];  // 112
  std::uint8_t master_key_salt[32];    // 132
  be32 master_key_iterations;          // 164
  char uuid[40];                       // 168
  Luks1DiskSlot slots[kSlots];         // 208
};
static_assert(sizeof(Luks1DiskHeader) == 592 && alignof(Luks1DiskHeader) == 1);
static_assert(offsetof(Luks1DiskHeader, uuid) == 168);
static_assert(offsetof(Luks1DiskHeader, slots) == 208);

}  // namespace platter::luks
