// What `platter cache` prints.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "src/provision/cache_report.h"

namespace platter::cli {

std::string list_text(const provision::CacheReport& report);
nlohmann::ordered_json list_json(const provision::CacheReport& report);

std::string stats_text(const provision::CacheReport& report);
nlohmann::ordered_json stats_json(const provision::CacheReport& report);

/// What stayed is printed with `all` only.
std::string prune_text(const provision::PruneResult& result, bool all);
nlohmann::ordered_json prune_json(const provision::PruneResult& result);

std::string verify_text(const std::vector<provision::VerifiedBase>& bases);
nlohmann::ordered_json verify_json(const std::vector<provision::VerifiedBase>& bases);

}  // namespace platter::cli
