// Message digests, by OpenSSL.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/error.h"

namespace platter {

/// One running digest. Any thread, one at a time.
class Digest {
 public:
  /// "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-512", "blake2b".
  static std::span<const std::string_view> algorithms() noexcept;
  /// Errors: invalid_argument (no such algorithm), unsupported (OpenSSL is set up without it).
  static Result<Digest> create(std::string_view algorithm);

  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  ~Digest();

  /// Errors: unsupported (OpenSSL refuses); the digest is of no use then.
  Result<void> update(std::span<const std::byte> bytes);
  /// Ends it: once, nothing more is added then.
  Result<std::vector<std::byte>> finish();

 private:
  struct State;
  explicit Digest(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

/// Lower-case hexadecimal digits.
std::string hex_text(std::span<const std::byte> bytes);

}  // namespace platter
