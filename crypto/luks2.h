// LUKS2 headers, through libcryptsetup, without device-mapper: what they say, and the key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crypto/dm_crypt.h"
#include "crypto/key_cost.h"
#include "crypto/secret.h"
#include "io/task.h"

namespace platter {

struct Luks2Slot {
  unsigned number = 0;
  std::string pbkdf;  ///< "argon2id", "argon2i", "pbkdf2"
  std::uint32_t iterations = 0;
  std::uint32_t memory_kib = 0;  ///< argon2
};

struct Luks2Header {
  std::string uuid;
  std::string cipher;                         ///< "aes"
  std::string mode;                           ///< "xts-plain64"
  std::size_t key_size = 0;                   ///< bytes
  std::uint32_t sector_size = 512;            ///< bytes
  std::uint64_t payload_offset = 0;           ///< bytes; 0: it lies in a file of its own
  std::optional<std::uint64_t> payload_size;  ///< bytes; nothing: to the file's end
  std::vector<Luks2Slot> slots;               ///< those in use
};

/// A header's file: an absolute path (/proc/self/fd/N is one, and names a file that is open already),
/// and what messages call it.
struct Luks2Place {
  std::string path;
  std::string name;
};

/// REQUIRES, of both: a ring. Errors: unknown_format (no LUKS2 header, or a damaged one), unsupported
/// (integrity tags, a re-encryption under way, segments that are not one encrypted one), io.
Task<Luks2Header> read_luks2(Luks2Place place);
/// The volume key. Errors: also permission (no slot has this passphrase), too_large (see KeyCostLimits).
Task<Secret> unlock_luks2(Luks2Place place, KeyView passphrase, KeyCostLimits limits);

}  // namespace platter
