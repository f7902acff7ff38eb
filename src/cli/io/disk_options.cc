#include "src/cli/io/disk_options.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "src/cli/image_arguments.h"

namespace platter::cli {
namespace {

std::unexpected<Error> wrong(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

// Options of QEMU's qcow2 driver that nothing here depends on: counts are never lazy, what is
// discarded is always passed on, and memory is bounded by the policy.
constexpr std::array<std::string_view, 10> kQcow2Tuning = {
    "lazy-refcounts",       "pass-discard-request", "pass-discard-snapshot", "pass-discard-other",
    "cache-size",           "l2-cache-size",        "l2-cache-entry-size",   "refcount-cache-size",
    "cache-clean-interval", "overlap-check"};

bool tunes_qcow2(std::string_view name) {
  return std::ranges::find(kQcow2Tuning, name) != kQcow2Tuning.end() ||
         name.starts_with("overlap-check.");
}

Result<bool> on_or_off(const CreateOption& option) {
  if (option.value == "on") return true;
  if (option.value == "off") return false;
  return wrong(fmt::format("Parameter '{}' expects 'on' or 'off'", option.name));
}

Result<void> set_flag(bool& flag, const CreateOption& option) {
  const Result<bool> on = on_or_off(option);
  if (!on) return fail(on.error().clone());
  flag = *on;
  return {};
}

Result<void> set_cache_option(DiskOptions& options, const CreateOption& option) {
  const Result<bool> on = on_or_off(option);
  if (!on) return fail(on.error().clone());
  if (option.name == "cache.direct") {
    options.cache = *on ? CacheUse::direct : CacheUse::buffered;
  } else if (*on) {
    options.durability = Durability::never;
  } else if (options.durability == Durability::never) {
    options.durability = Durability::on_flush;
  }
  return {};
}

// What can be said when an image is opened and later. Sets `known` where it is one of these.
Result<void> set_common(DiskOptions& options, const CreateOption& option, bool& known) {
  known = true;
  if (option.name == "read-only") return set_flag(options.read_only, option);
  if (option.name == "cache.direct" || option.name == "cache.no-flush") {
    return set_cache_option(options, option);
  }
  if (option.name == "discard") {
    if (set_discard(options, option.value)) return {};
    return wrong("Invalid discard option");
  }
  if (option.name == "detect-zeroes") {
    // Zeroes are written as data: that is what off means.
    if (option.value == "off") return {};
    return wrong("detect-zeroes is not there: write zeroes with -z");
  }
  known = false;
  return {};
}

}  // namespace

Result<void> set_cache(DiskOptions& options, std::string_view mode) {
  const std::optional<CacheMode> cache = parse_cache_mode(mode);
  if (!cache) return wrong(fmt::format("Invalid cache option: {}", mode));
  options.cache = cache->use;
  options.durability = cache->durability;
  return {};
}

Result<void> set_discard(DiskOptions& options, std::string_view mode) {
  const bool on = mode == "unmap" || mode == "on";
  if (!on && mode != "ignore" && mode != "off") {
    return wrong(fmt::format("Invalid discard option: {}", mode));
  }
  options.discard = on;
  return {};
}

Result<void> set_engine(DiskOptions& options, std::string_view mode) {
  if (mode != "threads" && mode != "native" && mode != "io_uring") {
    return wrong(fmt::format("Invalid aio option: {}", mode));
  }
  options.native = mode == "native";
  return {};
}

Result<void> set_driver_options(DiskOptions& options, const std::vector<CreateOption>& given) {
  const bool writable = !options.read_only;
  for (const CreateOption& option : given) {
    bool known = false;
    if (Result<void> set = set_common(options, option, known); !set || known) {
      if (!set) return set;
      continue;
    }
    if (option.name == "driver") {
      options.format = option.value;
    } else if (option.name == "file.filename") {
      options.filename = option.value;
    } else if (option.name == "force-share") {
      if (Result<void> set = set_flag(options.force_share, option); !set) return set;
    } else if (!tunes_qcow2(option.name) || options.format == "raw") {
      return wrong(options.format.empty()
                       ? fmt::format("Unknown option '{}'", option.name)
                       : fmt::format("Block format '{}' does not support the option '{}'",
                                     options.format, option.name));
    }
  }
  // As qemu-io, which opens for writing whatever these say.
  if (writable && options.read_only) return wrong("Block node is read-only");
  return {};
}

Result<void> change_driver_options(DiskOptions& options, std::string_view format,
                                   const std::vector<CreateOption>& given) {
  for (const CreateOption& option : given) {
    bool known = false;
    if (Result<void> set = set_common(options, option, known); !set) return set;
    const bool same_driver = option.name == "driver" && option.value == format;
    const bool tuning = format == "qcow2" && tunes_qcow2(option.name);
    if (known || same_driver || tuning) continue;
    return wrong(fmt::format("Cannot change the option '{}'", option.name));
  }
  return {};
}

}  // namespace platter::cli
