// Hashes and key derivation for disk encryption, by OpenSSL.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "crypto/secret.h"
#include "io/error.h"

namespace platter {

/// Bytes of a hash by its LUKS name, "sha1", "sha256", "ripemd160", ...; nothing if there is no such
/// hash here.
std::optional<std::size_t> key_hash_size(std::string_view name) noexcept;

/// Hashes `bytes` into `into`, which has the hash's size. Errors: unsupported.
Result<void> key_hash(std::string_view name, std::span<const std::byte> bytes,
                      std::span<std::byte> into);

/// PBKDF2 with HMAC of that hash; takes its time: for workers. Errors: unsupported.
Result<void> pbkdf2(std::string_view hash, std::span<const std::byte> password,
                    std::span<const std::byte> salt, std::uint32_t iterations,
                    std::span<std::byte> into);

/// How many iterations of it take a second of this thread's time, for a derived key of that size.
/// Takes about a tenth of a second. Errors: unsupported.
Result<std::uint64_t> pbkdf2_iterations_per_second(std::string_view hash, std::size_t size);

/// Bytes nobody can guess. Errors: io (the system has none).
Result<void> random_bytes(std::span<std::byte> into);

}  // namespace platter
