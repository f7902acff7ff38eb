// Encrypted mappings in the kernel (dm-crypt), through libcryptsetup: plain ones, LUKS1 and LUKS2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "crypto/dm_device.h"
#include "crypto/key_cost.h"
#include "io/error.h"
#include "io/task.h"

namespace platter {

/// A passphrase or key: belongs to the caller, who wipes it, and stays in place until the await
/// returns. It may hold any bytes; none is a mark of its end.
using KeyView = std::span<const std::byte>;

struct MappingOptions {
  bool read_only = false;
  bool allow_discards = false;  ///< discards reach the device, and show which blocks are in use
};

/// How a plain mapping's key comes about, as in cryptsetup 2.6. The same passphrase gives another key
/// with another of these: nothing on the device tells which it was.
enum class PlainKey : std::uint8_t {
  hashed,    ///< all of the input, hashed: cryptsetup's --key-file=- (and what Nova does)
  verbatim,  ///< its first bytes are the key: cryptsetup's --key-file=PATH, and --hash plain
};

/// The defaults are Nova's and those of cryptsetup up to 2.6. (2.7 hashes with sha256.)
struct PlainParameters {
  std::string cipher = "aes-xts-plain64";
  unsigned key_bits = 512;
  std::string hash = "ripemd160";  ///< "sha256", ...; "plain" is verbatim too
  PlainKey key = PlainKey::hashed;
  std::uint32_t sector_size = 512;  ///< bytes: 512 to 4096
};

/// Errors of all: invalid_argument, not_found (the device), permission (also: a wrong passphrase),
/// unsupported (this kernel can't), in_use (the device is), too_large (see KeyCostLimits), io.
/// Their text is libcryptsetup's own. REQUIRES: a ring. `device` is an absolute path; `name` one in
/// /dev/mapper.

/// Maps `device` to /dev/mapper/`name`, and waits for that. There is no header: any key fits, and a
/// wrong one shows as noise. A verbatim key that is longer than needed is cut; a shorter one is
/// invalid_argument (cryptsetup fills it up with zeroes if it comes from standard input).
/// Errors: already_exists (the name).
Task<void> open_plain(std::string device, std::string name, PlainParameters parameters, KeyView key,
                      MappingOptions options = {});

enum class LuksVersion : std::uint8_t { luks1, luks2 };

struct LuksParameters {
  LuksVersion version = LuksVersion::luks2;
  std::string cipher = "aes-xts-plain64";
  unsigned key_bits = 512;
  std::string hash = "sha256";
  std::uint32_t sector_size = 512;  ///< bytes; LUKS1 has 512 alone
  /// "pbkdf2", "argon2i", "argon2id"; empty: argon2id, in LUKS1 pbkdf2.
  std::string pbkdf{};
  /// How much a guess at the passphrase costs: measured to take this long, unless the next is given.
  std::uint32_t pbkdf_time_ms = 2000;
  std::uint32_t pbkdf_iterations = 0;
  std::uint32_t pbkdf_memory_kib = 0;  ///< with iterations, for argon2
};

/// Writes a header with one key slot. What was on the device is lost.
Task<void> format_luks(std::string device, LuksParameters parameters, KeyView passphrase);
/// Maps the data behind a LUKS header. Errors: permission (no slot has this passphrase),
/// unknown_format (no LUKS header, or a damaged one).
Task<void> open_luks(std::string device, std::string name, KeyView passphrase,
                     MappingOptions options = {}, KeyCostLimits limits = {});

struct MappingStatus {
  std::string type;    ///< "PLAIN", "LUKS1", "LUKS2"
  std::string cipher;  ///< "aes-xts-plain64"
  unsigned key_bits = 0;
  std::string device;             ///< below the mapping
  std::uint64_t offset = 0;       ///< bytes: where on it the data begin
  std::uint64_t size = 0;         ///< bytes
  std::uint32_t sector_size = 0;  ///< bytes
  bool read_only = false;
};

/// Nothing if there is no such mapping, or if it is not one of these kinds.
Task<std::optional<MappingStatus>> mapping_status(std::string name);
/// Makes the mapping as large as its device is now, or `size` bytes. LUKS2 may need the passphrase,
/// where the kernel's keyring holds the key. Errors: not_found, permission.
Task<void> resize_mapping(std::string name, std::optional<std::uint64_t> size = std::nullopt,
                          std::optional<KeyView> passphrase = std::nullopt);
/// Removes the mapping, and its key from the kernel. Errors: not_found, in_use.
Task<void> close_mapping(std::string name, DmRemoval removal = DmRemoval::retried);

}  // namespace platter
