#include "src/cli/cache_text.h"

#include <chrono>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "src/cli/size.h"

namespace platter::cli {
namespace {

using Json = nlohmann::ordered_json;
using provision::BaseKind;
using provision::CachedBase;
using provision::CacheReport;
using provision::PrunedBase;
using provision::PruneVerdict;

// The largest unit that there is at least one of.
std::string age_text(std::chrono::seconds age) {
  const auto seconds = age.count();
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / (24 * 3600));
}

Json json_of(const CachedBase& base) {
  return {{"name", base.name},
          {"kind", to_string(base.kind)},
          {"size", base.size},
          {"allocated", base.allocated},
          {"age-seconds", base.age.count()},
          {"disk-count", base.user_count},
          {"disks", base.users}};
}

struct KindSum {
  std::uint64_t count = 0;
  std::uint64_t unused = 0;
  std::uint64_t size = 0;
  std::uint64_t allocated = 0;
};

std::map<BaseKind, KindSum> sums_of(const CacheReport& report) {
  std::map<BaseKind, KindSum> sums;
  for (const CachedBase& base : report.bases) {
    KindSum& sum = sums[base.kind];
    ++sum.count;
    if (base.user_count == 0) ++sum.unused;
    sum.size += base.size;
    sum.allocated += base.allocated;
  }
  return sums;
}

std::string unreadable_text(const CacheReport& report) {
  std::string text;
  for (const std::string& each : report.unreadable) text += "can't be looked at: " + each + '\n';
  return text;
}

bool goes(const PrunedBase& pruned) noexcept {
  return pruned.verdict == PruneVerdict::removed || pruned.verdict == PruneVerdict::removable;
}

}  // namespace

std::string list_text(const CacheReport& report) {
  std::string text;
  for (const CachedBase& base : report.bases) {
    text += fmt::format("{:<42} {:<9} {:>10} {:>10} {:>8}  {} disks\n", base.name,
                        to_string(base.kind), human_size(base.size), human_size(base.allocated),
                        age_text(base.age), base.user_count);
  }
  return text + unreadable_text(report);
}

Json list_json(const CacheReport& report) {
  Json bases = Json::array();
  for (const CachedBase& base : report.bases) bases.push_back(json_of(base));
  return {{"bases", std::move(bases)}, {"unreadable", report.unreadable}};
}

std::string stats_text(const CacheReport& report) {
  std::string text;
  for (const auto& [kind, sum] : sums_of(report)) {
    text += fmt::format("{:<9} {:>6} bases, {} unused: {}, {} of the disk\n", to_string(kind),
                        sum.count, sum.unused, human_size(sum.size), human_size(sum.allocated));
  }
  return text +
         fmt::format("all       {:>6} bases: {}, {} of the disk; {} files of instances\n",
                     report.bases.size(), human_size(report.size), human_size(report.allocated),
                     report.disk_count) +
         unreadable_text(report);
}

Json stats_json(const CacheReport& report) {
  Json kinds = Json::object();
  for (const auto& [kind, sum] : sums_of(report)) {
    kinds[std::string(to_string(kind))] = {{"count", sum.count},
                                           {"unused", sum.unused},
                                           {"size", sum.size},
                                           {"allocated", sum.allocated}};
  }
  return {{"count", report.bases.size()},  {"size", report.size},
          {"allocated", report.allocated}, {"instance-files", report.disk_count},
          {"kinds", std::move(kinds)},     {"unreadable", report.unreadable}};
}

std::string prune_text(const provision::PruneResult& result, bool all) {
  std::string text;
  for (const PrunedBase& pruned : result.bases) {
    if (!all && !goes(pruned) && pruned.verdict != PruneVerdict::failed) continue;
    text += fmt::format("{}: {}{}{}\n", pruned.base.name, to_string(pruned.verdict),
                        pruned.reason.empty() ? "" : ": ", pruned.reason);
  }
  return text;
}

Json prune_json(const provision::PruneResult& result) {
  Json bases = Json::array();
  for (const PrunedBase& pruned : result.bases) {
    Json json = json_of(pruned.base);
    json["verdict"] = to_string(pruned.verdict);
    if (!pruned.reason.empty()) json["reason"] = pruned.reason;
    bases.push_back(std::move(json));
  }
  return {{"freed", result.freed}, {"bases", std::move(bases)}};
}

std::string verify_text(const std::vector<provision::VerifiedBase>& bases) {
  std::string text;
  for (const auto& base : bases) {
    text += base.fault.empty()
                ? fmt::format("{}: {}, {}\n", base.name, base.format, human_size(base.virtual_size))
                : fmt::format("{}: bad: {}\n", base.name, base.fault);
  }
  return text;
}

Json verify_json(const std::vector<provision::VerifiedBase>& bases) {
  Json list = Json::array();
  for (const auto& base : bases) {
    Json json{{"name", base.name}, {"good", base.fault.empty()}};
    if (base.fault.empty()) {
      json["format"] = base.format;
      json["virtual-size"] = base.virtual_size;
    } else {
      json["fault"] = base.fault;
    }
    list.push_back(std::move(json));
  }
  return list;
}

}  // namespace platter::cli
