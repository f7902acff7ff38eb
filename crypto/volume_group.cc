#include "crypto/volume_group.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <utility>

#include <fmt/format.h>

#include "crypto/device_name.h"
#include "crypto/dm_device.h"
#include "crypto/lvm_report.h"
#include "crypto/lvm_session.h"
#include "io/bytes.h"
#include "io/ring.h"

namespace platter {
namespace {

using Words = std::vector<std::string>;

constexpr std::uint64_t kSectorSize = 512;  // what LVM takes a size in bytes in multiples of

std::string lvm_size(std::uint64_t bytes) {
  return fmt::format("{}b", align_up(bytes, kSectorSize));
}

Result<void> check_size(std::uint64_t bytes) {
  if (bytes > 0 && bytes <= kMaxFileSize) return {};
  return fail(bytes == 0 ? ErrorKind::invalid_argument : ErrorKind::too_large,
              fmt::format("A volume can't have {} bytes", bytes));
}

// What of a NewVolume goes together. Errors: invalid_argument.
Result<void> check_new_volume(const NewVolume& volume) {
  const auto wrong = [](std::string_view why) {
    return fail(ErrorKind::invalid_argument, std::string(why));
  };
  if (auto name = check_volume_name("volume", volume.name); !name) return name;
  if (!volume.pool.empty()) {
    if (auto pool = check_volume_name("volume", volume.pool); !pool) return pool;
  }
  if (!volume.origin.empty()) {
    if (auto origin = check_volume_name("volume", volume.origin); !origin) return origin;
  }
  const bool is_thin = volume.kind == VolumeKind::thin;
  const bool is_snapshot = volume.kind == VolumeKind::snapshot;
  if (volume.kind == VolumeKind::other) return wrong("Volumes of this kind are not made here");
  if (!is_thin && !volume.pool.empty()) return wrong("Only a thin volume is in a pool");
  if (!is_thin && !is_snapshot && !volume.origin.empty()) {
    return wrong("Only a snapshot has an origin");
  }
  if (is_snapshot && volume.origin.empty()) return wrong("A snapshot needs an origin");
  if (is_thin && volume.pool.empty() == volume.origin.empty()) {
    return wrong("A thin volume needs a pool, or an origin that is thin");
  }
  if (!volume.activate && volume.kind != VolumeKind::linear) {
    return wrong("Only a linear volume can be made inactive");
  }
  const bool sized = !is_thin || volume.origin.empty();
  return sized ? check_size(volume.size) : Result<void>();
}

// The targets of the device-mapper that LVM needs: it would start modprobe if one were not there.
Words targets_of(VolumeKind kind) {
  switch (kind) {
    case VolumeKind::thin_pool:
    case VolumeKind::thin:
      // LVM asks for "snapshot" also where a thin volume's snapshot is thin.
      return {"linear", "thin-pool", "thin", "snapshot"};
    case VolumeKind::snapshot: return {"linear", "snapshot", "snapshot-origin"};
    case VolumeKind::linear:
    case VolumeKind::other: break;
  }
  return {"linear"};
}

Task<void> require_targets(VolumeKind kind) {
  for (std::string& target : targets_of(kind)) co_await dm_require_target(std::move(target));
}

Words create_command(const std::string& group, const NewVolume& volume) {
  // --yes answers that a signature of an old filesystem may go.
  Words words = {"lvcreate", "--yes", "--name", volume.name};
  const auto add = [&words](std::initializer_list<std::string> more) {
    words.insert(words.end(), more);
  };
  switch (volume.kind) {
    case VolumeKind::linear:
      add({"--type", "linear", "--size", lvm_size(volume.size)});
      if (volume.activate) {
        add({"--wipesignatures", "y", "--zero", "y", group});
      } else {
        add({"--activate", "n", "--wipesignatures", "n", "--zero", "n", group});
      }
      break;
    case VolumeKind::thin_pool:
      add({"--type", "thin-pool", "--size", lvm_size(volume.size), "--zero", "y", group});
      break;
    case VolumeKind::snapshot:
      add({"--snapshot", "--size", lvm_size(volume.size), group + "/" + volume.origin});
      break;
    case VolumeKind::thin:
      if (volume.origin.empty()) {
        add({"--type", "thin", "--virtualsize", lvm_size(volume.size), "--thinpool", volume.pool,
             group});
      } else {
        add({"--snapshot", "--setactivationskip", "n", group + "/" + volume.origin});
      }
      break;
    case VolumeKind::other: break;  // refused before
  }
  return words;
}

std::string what_needs(const VolumeInfo& volume, const std::vector<VolumeInfo>& volumes) {
  std::string names;
  for (const VolumeInfo& other : volumes) {
    const bool in_pool = volume.kind == VolumeKind::thin_pool && other.pool == volume.name;
    // A thin snapshot lives on without its origin.
    const bool of_origin = other.kind == VolumeKind::snapshot && other.origin == volume.name;
    if (in_pool || of_origin) names += (names.empty() ? "" : ", ") + other.name;
  }
  return names;
}

}  // namespace

std::string_view to_string(VolumeKind kind) noexcept {
  switch (kind) {
    case VolumeKind::linear: return "linear";
    case VolumeKind::snapshot: return "snapshot";
    case VolumeKind::thin_pool: return "thin-pool";
    case VolumeKind::thin: return "thin";
    case VolumeKind::other: return "other";
  }
  return "other";
}

Result<VolumeGroup> VolumeGroup::named(std::string name) {
  if (auto checked = check_volume_name("volume group", name); !checked) {
    return fail(std::move(checked.error()));
  }
  return VolumeGroup(std::move(name));
}

std::string VolumeGroup::path_of(std::string_view volume) const {
  return path_of_volume(name_, volume);
}

Result<std::string> VolumeGroup::full_name(std::string_view volume) const {
  if (auto checked = check_volume_name("volume", volume); !checked) {
    return fail(std::move(checked.error()));
  }
  return fmt::format("{}/{}", name_, volume);
}

Task<std::vector<VolumeGroupInfo>> VolumeGroup::all() {
  const LvmReply reply = co_await run_lvm(group_report_command());
  co_return parse_group_report(reply.report);
}

Task<VolumeGroupInfo> VolumeGroup::info() const {
  Words words = group_report_command();
  words.push_back(name_);
  const LvmReply reply = co_await run_lvm(std::move(words));
  std::vector<VolumeGroupInfo> groups = co_await parse_group_report(reply.report);
  if (groups.size() != 1) {
    co_return fail(ErrorKind::not_found, fmt::format("Volume group '{}' not found", name_));
  }
  co_return std::move(groups.front());
}

Task<std::vector<VolumeInfo>> VolumeGroup::volumes() const {
  Words words = volume_report_command();
  words.push_back(name_);
  const LvmReply reply = co_await run_lvm(std::move(words));
  co_return parse_volume_report(reply.report);
}

Task<VolumeInfo> VolumeGroup::volume(std::string volume) const {
  Words words = volume_report_command();
  words.push_back(co_await full_name(volume));
  const LvmReply reply = co_await run_lvm(std::move(words));
  std::vector<VolumeInfo> volumes = co_await parse_volume_report(reply.report);
  if (volumes.size() != 1) {
    co_return fail(ErrorKind::not_found,
                   fmt::format("Volume '{}' not found in volume group '{}'", volume, name_));
  }
  co_return std::move(volumes.front());
}

Task<VolumeInfo> VolumeGroup::create(NewVolume volume) const {
  co_await check_new_volume(volume);
  if (volume.activate) co_await require_targets(volume.kind);
  co_await run_lvm(create_command(name_, volume));
  VolumeInfo made = co_await this->volume(volume.name);
  // A pool has no device for others to use.
  if (made.active && made.kind != VolumeKind::thin_pool) {
    co_await wait_for_device(path_of(made.name), made.major, made.minor);
  }
  co_return made;
}

Task<VolumeInfo> VolumeGroup::extend(std::string volume, std::uint64_t size) const {
  co_await check_size(size);
  const std::string full = co_await full_name(volume);
  const VolumeInfo before = co_await this->volume(volume);
  if (before.active) co_await require_targets(before.kind);
  Words words = {"lvextend", "--yes", "--size", lvm_size(size), full};
  co_await run_lvm(std::move(words));
  co_return co_await this->volume(std::move(volume));
}

Task<void> VolumeGroup::rename(std::string volume, std::string new_name) const {
  co_await full_name(volume);
  co_await full_name(new_name);
  Words words = {"lvrename", name_, std::move(volume), new_name};
  co_await run_lvm(std::move(words));
  const VolumeInfo renamed = co_await this->volume(new_name);
  if (renamed.active && renamed.kind != VolumeKind::thin_pool) {
    co_await wait_for_device(path_of(new_name), renamed.major, renamed.minor);
  }
}

Task<void> VolumeGroup::remove(std::string volume) const {
  const std::string full = co_await full_name(volume);
  const VolumeInfo victim = co_await this->volume(volume);
  // LVM, told not to ask, would remove these too.
  const std::string needed_by = what_needs(victim, co_await volumes());
  if (!needed_by.empty()) {
    co_await fail(ErrorKind::in_use, fmt::format("Volume '{}' is needed by: {}", full, needed_by));
  }
  if (victim.active) co_await require_targets(victim.kind);
  Words words = {"lvremove", "--yes", full};
  co_await run_lvm(std::move(words));
}

Task<void> VolumeGroup::activate(std::string volume) const {
  std::string full = co_await full_name(volume);
  const VolumeInfo before = co_await this->volume(volume);
  co_await require_targets(before.kind);
  Words words = {"lvchange", "--yes", "--ignoreactivationskip", "--activate", "y", std::move(full)};
  co_await run_lvm(std::move(words));
  const VolumeInfo after = co_await this->volume(volume);
  if (!after.active) {
    co_await fail(
        ErrorKind::unsupported,
        fmt::format("Volume '{}/{}' was not activated: LVM's settings forbid it", name_, volume));
  }
  if (after.kind == VolumeKind::thin_pool) co_return;
  co_await wait_for_device(path_of(after.name), after.major, after.minor);
}

Task<void> VolumeGroup::deactivate(std::string volume) const {
  std::string full = co_await full_name(volume);
  Words words = {"lvchange", "--yes", "--activate", "n", std::move(full)};
  co_await run_lvm(std::move(words));
}

Task<void> wait_for_device(std::string path, std::uint32_t major, std::uint32_t minor,
                           std::chrono::milliseconds time) {
  constexpr auto kPause = std::chrono::milliseconds(5);
  const auto end = std::chrono::steady_clock::now() + time;
  for (;;) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0 && S_ISBLK(status.st_mode) &&
        status.st_rdev == makedev(major, minor)) {
      co_return;
    }
    if (std::chrono::steady_clock::now() >= end) break;
    co_await Ring::current().sleep(kPause);
  }
  co_await fail(ErrorKind::not_found, fmt::format("'{}' did not become device {}:{} within {} ms",
                                                  path, major, minor, time.count()));
}

}  // namespace platter
