// Which cipher encrypts sectors, and how each sector's initialisation vector comes about.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "io/error.h"

namespace platter {

enum class CipherAlgorithm : std::uint8_t { aes, serpent, twofish, cast5 };
enum class CipherMode : std::uint8_t { ecb, cbc, xts, ctr };

/// From the sector's number, in units of 512 bytes, whatever the size of a sector.
enum class IvGenerator : std::uint8_t {
  none,     ///< with ecb
  plain,    ///< its low 32 bits, little-endian
  plain64,  ///< all 64, little-endian
  essiv,    ///< these, encrypted with a hash of the key
};

struct CipherSpec {
  CipherAlgorithm algorithm = CipherAlgorithm::aes;
  unsigned key_bits = 256;  ///< of one key: xts has two
  CipherMode mode = CipherMode::xts;
  IvGenerator iv = IvGenerator::plain64;
  std::string iv_hash{};  ///< with essiv: "sha256"

  bool operator==(const CipherSpec&) const = default;

  /// Bytes of key material.
  std::size_t key_size() const noexcept {
    return key_bits / 8 * (mode == CipherMode::xts ? std::size_t{2} : 1);
  }
  /// What a run of one mode is made of, in bytes.
  std::size_t block_size() const noexcept { return algorithm == CipherAlgorithm::cast5 ? 8 : 16; }
  /// "xts-plain64", "cbc-essiv:sha256", "ecb": as dm-crypt and LUKS headers have it behind the name.
  std::string mode_text() const;
};

std::string_view to_string(CipherAlgorithm algorithm) noexcept;  ///< "aes"
std::string_view to_string(CipherMode mode) noexcept;            ///< "xts"
std::string_view to_string(IvGenerator generator) noexcept;      ///< "plain64"; none is ""

/// `name` "aes", `mode` "xts-plain64", and the size of all key material in bytes, as LUKS headers have
/// them. A mode without a generator means plain, as for dm-crypt; a hash where it is no essiv is passed
/// over. Errors: unsupported (unknown words), invalid_argument (a key of that size fits no such
/// cipher; a mode that the cipher can't have; essiv without a hash).
Result<CipherSpec> parse_cipher_spec(std::string_view name, std::string_view mode,
                                     std::size_t key_size);

/// Whether all of this fits together. Errors: as parse_cipher_spec().
Result<void> check_cipher_spec(const CipherSpec& spec);

}  // namespace platter
