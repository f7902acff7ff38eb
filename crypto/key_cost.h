// What it may cost to try a passphrase.
#pragma once

#include <cstdint>

namespace platter {

/// What opening may cost. A header's figures may be chosen to exhaust the machine.
struct KeyCostLimits {
  std::uint32_t memory_kib_max = 1U << 20;  ///< cryptsetup itself never asks for more
  std::uint32_t argon2_iterations_max = 64;
  std::uint32_t pbkdf2_iterations_max = 1U << 26;
};

}  // namespace platter
