// What whoever runs a host decides once: where things lie, and how disks are made.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/dm_crypt.h"
#include "crypto/wipe.h"
#include "io/error.h"

namespace platter::provision {

enum class BackendKind : std::uint8_t { flat, qcow2, lvm };
/// The name as in `--backend=`.
std::string_view to_string(BackendKind kind) noexcept;
/// Errors: invalid_argument.
Result<BackendKind> parse_backend(std::string_view name);

/// How a logical volume gets its space.
enum class VolumeKind : std::uint8_t {
  linear,  ///< all of it at once
  sparse,  ///< a snapshot of nothing, with a small origin, as Nova's sparse_logical_volumes
  thin,    ///< from a thin pool
};

struct VolumeConfig {
  std::string volume_group;
  VolumeKind kind = VolumeKind::linear;
  std::string thin_pool;  ///< with VolumeKind::thin
  WipePolicy clear;       ///< when a volume is removed
};

enum class EncryptionFormat : std::uint8_t { plain, luks1, luks2 };

/// What a volume's mapping is like. The key itself is never part of a configuration.
struct EncryptionConfig {
  bool enabled = false;
  EncryptionFormat format = EncryptionFormat::luks2;
  std::string cipher = "aes-xts-plain64";
  unsigned key_bits = 512;
  /// Empty: what is usual for the format (plain: ripemd160, as Nova's volumes have it; LUKS: sha256).
  std::string hash;
  /// The file that holds the key; readable by its owner alone.
  std::string key_file;
};

struct CacheConfig {
  std::chrono::seconds retention = std::chrono::hours(24);         ///< of a base that nothing uses
  std::chrono::seconds resized_retention = std::chrono::hours(1);  ///< of `<base>_<GB>`
};

struct LimitConfig {
  std::chrono::seconds lock_wait = std::chrono::minutes(30);
  /// The largest template, as it comes, and the largest disk in one, in bytes.
  std::uint64_t template_max = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t disk_max = std::numeric_limits<std::int64_t>::max();
};

struct Config {
  /// An absolute path. Disks are `<instances>/<uuid>/<disk>`, locks are in `<instances>/locks`.
  std::string instances = "/var/lib/nova/instances";
  std::string base_folder = "_base";  ///< a name below it
  BackendKind backend = BackendKind::qcow2;
  bool force_raw = true;     ///< bases are kept as raw images
  bool preallocate = false;  ///< space for a whole disk is reserved when the disk is made
  /// Of overlays, in bytes; nothing: that of the base, or 64 KiB over a raw one.
  std::optional<std::uint64_t> cluster_size;
  VolumeConfig volumes;
  EncryptionConfig encryption;
  CacheConfig cache;
  LimitConfig limits;
};

/// Reads a TOML file (docs/provisioning.md lists the keys); what it leaves out is as above.
/// Errors: not_found, permission, too_large (over 1 MiB), invalid_argument: the message names the file
/// and the line of what is unknown, of a wrong type or impossible.
Result<Config> read_config(const std::string& path);
/// The same of a text; `name` is for messages.
Result<Config> parse_config(std::string_view text, const std::string& name);
/// What does not fit together, wherever it came from. Errors: invalid_argument.
Result<void> check(const Config& config);

}  // namespace platter::provision
