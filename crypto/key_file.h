// Passphrases and keys out of files, as bytes.
#pragma once

#include <cstdint>
#include <string>

#include "crypto/secret.h"
#include "io/error.h"

namespace platter {

/// Whether others than its owner may be able to read a file with a secret.
enum class SecretFileMode : std::uint8_t {
  any,         ///< as cryptsetup and QEMU take theirs
  owner_only,  ///< a file that its group or others may read is an error: permission
};

/// All that `fd` has from here on, up to `size_max` bytes; `name` is for messages. Blocks. Errors: io,
/// too_large, out_of_memory.
Result<Secret> read_secret(int fd, const std::string& name, std::size_t size_max);

/// The same of a file. Errors: also not_found, permission.
Result<Secret> read_secret_file(const std::string& path, SecretFileMode mode, std::size_t size_max);

/// All of the file's bytes, a newline at the end too, as cryptsetup takes a key file; "-" is standard
/// input. Errors: as read_secret_file(); too_large (over 8 MiB), invalid_argument (empty).
Result<Secret> read_key_file(const std::string& file);

}  // namespace platter
