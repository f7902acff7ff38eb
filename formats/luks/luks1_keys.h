// The key slots of a LUKS1 header: opened with a passphrase, filled, erased.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "crypto/key_cost.h"
#include "crypto/secret.h"
#include "formats/luks/luks1_header.h"
#include "io/file.h"
#include "io/task.h"

namespace platter::luks {

/// The caller's, and stays in place until the await returns.
using Passphrase = std::span<const std::byte>;

/// Where a header is: in qcow2 images not at a file's start. The file outlives it.
struct HeaderPlace {
  File& file;
  std::uint64_t offset = 0;  ///< bytes
};

struct UnlockedKey {
  Secret key;         ///< the master key
  unsigned slot = 0;  ///< that the passphrase fits
};

/// Tries the active slots in turn; derives keys on workers. Errors: permission (no slot has this
/// passphrase), too_large (a slot asks for more than the limits), corrupt_image (key material past
/// the file's end), unsupported.
Task<UnlockedKey> unlock_luks1(HeaderPlace place, const Luks1Header& header, Passphrase passphrase,
                               KeyCostLimits limits);
/// The same of one slot, which is active; nothing if the passphrase does not fit.
Task<std::optional<Secret>> unlock_slot(HeaderPlace place, const Luks1Header& header,
                                        unsigned number, Passphrase passphrase,
                                        KeyCostLimits limits);

/// How much work a guess at a new slot's passphrase is to be: measured. At least 1000, at most what
/// KeyCostLimits allow by default.
Task<std::uint32_t> slot_iterations(const Luks1Header& header, std::uint32_t time_ms);

/// Puts the master key into a slot: first its material, durably, then the header, durably.
Task<void> fill_slot(HeaderPlace place, Luks1Header& header, unsigned number, const Secret& key,
                     Passphrase passphrase, std::uint32_t iterations);

/// Marks a slot unused, durably, then writes over its material.
Task<void> erase_slot(HeaderPlace place, Luks1Header& header, unsigned number);

Task<void> write_header(HeaderPlace place, const Luks1Header& header);

}  // namespace platter::luks
