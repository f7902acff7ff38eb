#include "src/provision/config.h"

#include <array>
#include <bit>
#include <utility>

#include "io/bytes.h"
#include "src/provision/names.h"

namespace platter::provision {
namespace {

constexpr std::array<std::pair<BackendKind, std::string_view>, 3> kBackends{
    {{BackendKind::flat, "flat"}, {BackendKind::qcow2, "qcow2"}, {BackendKind::lvm, "lvm"}}};

constexpr std::uint64_t kClusterSizeMin = 512;
constexpr std::uint64_t kClusterSizeMax = 2 * kMiB;

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

Result<void> check_volumes(const Config& config) {
  const VolumeConfig& volumes = config.volumes;
  if (config.backend == BackendKind::lvm && volumes.volume_group.empty()) {
    return wrong("The backend lvm needs lvm.volume_group");
  }
  if (volumes.kind == VolumeKind::thin && volumes.thin_pool.empty()) {
    return wrong("Thin volumes need lvm.thin_pool");
  }
  if (!volumes.volume_group.empty()) {
    if (Result<void> fits = check_volume_group(volumes.volume_group); !fits) return fits;
  }
  if (volumes.thin_pool.empty()) return {};
  return check_file_name(volumes.thin_pool, "thin pool");
}

}  // namespace

std::string_view to_string(BackendKind kind) noexcept {
  for (const auto& [known, name] : kBackends) {
    if (known == kind) return name;
  }
  return {};
}

Result<BackendKind> parse_backend(std::string_view name) {
  for (const auto& [kind, known] : kBackends) {
    if (known == name) return kind;
  }
  return wrong("Unknown backend '" + std::string(name) + "': flat, qcow2 or lvm");
}

Result<void> check(const Config& config) {
  if (!config.instances.starts_with('/')) {
    return wrong("'" + config.instances + "': the folder of instances needs an absolute path");
  }
  if (Result<void> fits = check_file_name(config.base_folder, "folder of bases"); !fits)
    return fits;
  if (config.base_folder == "locks" || check_instance(config.base_folder)) {
    return wrong("'" + config.base_folder + "' is no folder for bases: others use it");
  }
  if (const auto size = config.cluster_size;
      size && (!std::has_single_bit(*size) || *size < kClusterSizeMin || *size > kClusterSizeMax)) {
    return wrong("cluster_size must be a power of two from 512 to 2 MiB");
  }
  // Said before anything is made.
  if (config.encryption.enabled && config.backend != BackendKind::lvm) {
    return wrong("The backend " + std::string(to_string(config.backend)) +
                 " has no encryption: only lvm has");
  }
  if (config.encryption.enabled && config.encryption.key_file.empty()) {
    return wrong("Encryption needs encryption.key_file");
  }
  if (config.encryption.enabled && config.encryption.key_bits % 8 != 0) {
    return wrong("encryption.key_size must be a multiple of 8 bits");
  }
  return check_volumes(config);
}

}  // namespace platter::provision
