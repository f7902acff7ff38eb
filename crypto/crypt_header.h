// A LUKS header as libcryptsetup reads it. Internal to crypto/; on the thread of crypto/dm_thread.h.
#pragma once

#include <string>

#include "crypto/crypt_context.h"
#include "crypto/key_cost.h"
#include "io/error.h"

namespace platter {

/// `type`: CRYPT_LUKS for any version, CRYPT_LUKS2. Errors: unknown_format (no such header, or a damaged
/// one); those of the device. `what` as in CryptContext.
Result<void> load_luks(CryptContext& context, const char* type, const std::string& what);

/// Slots whose cost is over the limits are never tried: the header is the owner's of the device.
/// Errors: too_large.
Result<void> check_costs(const CryptContext& context, const KeyCostLimits& limits,
                         const std::string& what);

}  // namespace platter
