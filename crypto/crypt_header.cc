#include "crypto/crypt_header.h"

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <libcryptsetup.h>

namespace platter {

Result<void> load_luks(CryptContext& context, const char* type, const std::string& what) {
  const int result = crypt_load(context.get(), type, nullptr);
  if (result >= 0) return {};
  if (result != -EINVAL) return context.error(result, what);
  return fail(
      ErrorKind::unknown_format,
      fmt::format("Could not {}: {}", what,
                  context.messages().empty() ? "it has no valid LUKS header" : context.messages()));
}

Result<void> check_costs(const CryptContext& context, const KeyCostLimits& limits,
                         const std::string& what) {
  const int slots = crypt_keyslot_max(crypt_get_type(context.get()));
  for (int slot = 0; slot < slots; ++slot) {
    const crypt_keyslot_info state = crypt_keyslot_status(context.get(), slot);
    if (state == CRYPT_SLOT_INACTIVE || state == CRYPT_SLOT_INVALID) continue;
    crypt_pbkdf_type pbkdf{};
    const int result = crypt_keyslot_get_pbkdf(context.get(), slot, &pbkdf);
    if (result < 0) return context.error(result, what);
    const bool argon2 = std::strcmp(pbkdf.type, CRYPT_KDF_PBKDF2) != 0;
    const std::uint32_t iterations_max =
        argon2 ? limits.argon2_iterations_max : limits.pbkdf2_iterations_max;
    if (pbkdf.iterations <= iterations_max && pbkdf.max_memory_kb <= limits.memory_kib_max) {
      continue;
    }
    return fail(ErrorKind::too_large,
                fmt::format("Could not {}: key slot {} asks for {} iterations and {} KiB of memory,"
                            " over the limits of {} and {}",
                            what, slot, pbkdf.iterations, pbkdf.max_memory_kb, iterations_max,
                            limits.memory_kib_max));
  }
  return {};
}

}  // namespace platter
