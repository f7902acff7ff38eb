// The words of `info --limits`: those of QEMU 10.2's qemu-img.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "formats/block_limits.h"

namespace platter::cli {

/// With its heading.
std::string limits_text(const BlockLimits& limits);
nlohmann::ordered_json limits_json(const BlockLimits& limits);

}  // namespace platter::cli
