// What a LUKS header tells without a key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace platter {

struct LuksSlotInfo {
  bool active = false;
  std::uint64_t key_offset = 0;  ///< bytes; LUKS1
  std::uint32_t stripes = 0;     ///< LUKS1
  std::uint32_t iterations = 0;
  std::string pbkdf{};           ///< LUKS2: "argon2id", ...
  std::uint32_t memory_kib = 0;  ///< LUKS2, argon2
};

struct LuksInfo {
  unsigned version = 1;
  std::string iv_generator;            ///< "plain64"
  std::optional<std::string> iv_hash;  ///< "sha256"
  std::string hash;                    ///< LUKS1
  std::string cipher;                  ///< "aes-256"
  std::string mode;                    ///< "xts"
  std::string uuid;
  std::vector<LuksSlotInfo> slots;          ///< by number
  std::uint64_t payload_offset = 0;         ///< bytes
  std::uint32_t master_key_iterations = 0;  ///< LUKS1
  std::uint32_t sector_size = 512;          ///< bytes
};

}  // namespace platter
