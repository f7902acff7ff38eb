// New LUKS1 headers, as QEMU makes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "crypto/cipher_spec.h"
#include "formats/luks/luks1_keys.h"
#include "io/task.h"

namespace platter::luks {

struct Luks1CreateOptions {
  CipherAlgorithm algorithm = CipherAlgorithm::aes;
  unsigned key_bits = 256;  ///< of one key: xts has two
  CipherMode mode = CipherMode::xts;
  IvGenerator iv = IvGenerator::plain64;
  std::optional<std::string> iv_hash{};  ///< nothing with essiv: sha256
  std::string hash = "sha256";
  std::uint32_t time_ms = 2000;  ///< what a guess at the passphrase is to cost
};

/// What is to be written, without keys yet. Errors: invalid_argument, unsupported.
Result<Luks1Header> plan_luks1(const Luks1CreateOptions& options);

/// Writes a header with one key slot for a new master key, which it returns. The space between is not
/// touched. `header` as planned. Errors: those of the file; unsupported.
Task<Secret> create_luks1(HeaderPlace place, Luks1Header& header, Passphrase passphrase,
                          std::uint32_t time_ms);

}  // namespace platter::luks
