#include "src/cli/limits_text.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace platter::cli {
namespace {

struct NamedLimit {
  std::string_view name;
  std::optional<std::uint64_t> value;
};

// In the order in which qemu-img prints them. Those that no file and no format of ours has
// (opt-transfer, max-transfer, max-write-zeroes, max-discard) are never there, as in qemu-img.
std::array<NamedLimit, 8> named(const BlockLimits& limits) {
  return {{{"write-zeroes-alignment", limits.write_zeroes_alignment},
           {"request-alignment", limits.request_alignment},
           {"min-mem-alignment", limits.memory_alignment_min},
           {"max-hw-transfer", limits.hardware_transfer_max},
           {"discard-alignment", limits.discard_alignment},
           {"opt-mem-alignment", limits.memory_alignment_best},
           {"max-iov", limits.iov_max},
           {"max-hw-iov", limits.hardware_iov_max}}};
}

}  // namespace

std::string limits_text(const BlockLimits& limits) {
  std::string text = "Block limits:\n";
  for (const NamedLimit& limit : named(limits)) {
    if (!limit.value) continue;
    std::string name(limit.name);
    std::ranges::replace(name, '-', ' ');
    text += fmt::format("    {}: {}\n", name, *limit.value);
  }
  return text;
}

nlohmann::ordered_json limits_json(const BlockLimits& limits) {
  nlohmann::ordered_json json;
  for (const NamedLimit& limit : named(limits)) {
    if (limit.value) json[std::string(limit.name)] = *limit.value;
  }
  return json;
}

}  // namespace platter::cli
