#include "src/provision/guest_disk.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <limits>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "src/provision/xml_text.h"

namespace platter::provision {
namespace {

struct Quota {
  std::string_view name;
  std::optional<std::uint64_t> GuestIoTune::* field;
};
constexpr std::array kQuotas = {
    Quota{"total_bytes_sec", &GuestIoTune::total_bytes_sec},
    Quota{"read_bytes_sec", &GuestIoTune::read_bytes_sec},
    Quota{"write_bytes_sec", &GuestIoTune::write_bytes_sec},
    Quota{"total_iops_sec", &GuestIoTune::total_iops_sec},
    Quota{"read_iops_sec", &GuestIoTune::read_iops_sec},
    Quota{"write_iops_sec", &GuestIoTune::write_iops_sec},
};

std::string_view word(GuestDevice device) noexcept {
  switch (device) {
    case GuestDevice::disk: return "disk";
    case GuestDevice::cdrom: return "cdrom";
    case GuestDevice::lun: return "lun";
  }
  return {};
}
std::string_view word(GuestBus bus) noexcept {
  switch (bus) {
    case GuestBus::virtio: return "virtio";
    case GuestBus::scsi: return "scsi";
    case GuestBus::sata: return "sata";
    case GuestBus::ide: return "ide";
    case GuestBus::usb: return "usb";
  }
  return {};
}
std::string_view word(GuestCache cache) noexcept {
  switch (cache) {
    case GuestCache::unsaid: return {};
    case GuestCache::none: return "none";
    case GuestCache::writethrough: return "writethrough";
    case GuestCache::writeback: return "writeback";
    case GuestCache::directsync: return "directsync";
    case GuestCache::unsafe: return "unsafe";
  }
  return {};
}
std::string_view word(GuestDiscard discard) noexcept {
  switch (discard) {
    case GuestDiscard::unsaid: return {};
    case GuestDiscard::ignore: return "ignore";
    case GuestDiscard::unmap: return "unmap";
  }
  return {};
}
std::string_view word(GuestIo io) noexcept {
  switch (io) {
    case GuestIo::unsaid: return {};
    case GuestIo::native: return "native";
    case GuestIo::threads: return "threads";
    case GuestIo::io_uring: return "io_uring";
  }
  return {};
}

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorKind::invalid_argument, std::move(message));
}

bool is_lower(char c) noexcept { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// libvirt: a bus' prefix and letters, "vda" to "vdzz".
bool is_target(std::string_view name) noexcept {
  const bool prefixed = name.starts_with("vd") || name.starts_with("sd") || name.starts_with("hd");
  return prefixed && name.size() >= 3 && name.size() <= 5 &&
         std::ranges::all_of(name.substr(2), is_lower);
}

bool is_format(std::string_view name) noexcept {
  constexpr std::array<std::string_view, 7> kFormats = {"raw", "qcow2", "luks", "vmdk",
                                                        "vdi", "vpc",   "qed"};
  return std::ranges::count(kFormats, name) != 0;
}

bool is_uuid(std::string_view text) noexcept {
  if (text.size() != 36) return false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
    const char c = text[at];
    if (dash ? c != '-' : !is_digit(c) && (c < 'a' || c > 'f') && (c < 'A' || c > 'F'))
      return false;
  }
  return true;
}

// As libvirt's schema has them.
bool fits(const GuestDriveAddress& at) noexcept {
  return at.controller <= 99 && at.bus <= 99 && at.target <= 99 && at.unit <= 99;
}

bool is_serial(std::string_view text) noexcept {
  return text.size() <= 36 && std::ranges::all_of(text, [](char c) {
           return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z') ||
                  std::string_view("_.+-").find(c) != std::string_view::npos;
         });
}

Result<void> check_tune(const GuestIoTune& tune) {
  if (tune.total_bytes_sec && (tune.read_bytes_sec || tune.write_bytes_sec)) {
    return invalid("a disk has a total of bytes each second, or those of reads and writes");
  }
  if (tune.total_iops_sec && (tune.read_iops_sec || tune.write_iops_sec)) {
    return invalid("a disk has a total of requests each second, or those of reads and writes");
  }
  return {};
}

Result<void> check_disk(const GuestDisk& disk) {
  if (!disk.path.starts_with('/') || !fits_in_xml(disk.path)) {
    return invalid("a guest's disk needs an absolute path in UTF-8, without control characters");
  }
  if (!is_format(disk.format))
    return invalid("'" + disk.format + "' is no format for a guest's disk");
  if (!is_target(disk.target)) {
    return invalid("'" + disk.target + "' is no target for a guest's disk, such as vda");
  }
  const bool direct = disk.cache == GuestCache::none || disk.cache == GuestCache::directsync;
  if (disk.io == GuestIo::native && !direct) {
    return invalid("io of native needs a cache of none or directsync");
  }
  if (disk.boot_order == 0U) return invalid("the boot order counts from 1 on");
  if (disk.address && (disk.bus == GuestBus::virtio || disk.bus == GuestBus::usb)) {
    return invalid("a disk on the bus " + std::string(word(disk.bus)) +
                   " has no controller's address");
  }
  if (disk.address && !fits(*disk.address)) {
    return invalid("a controller's address has two digits at most for each part");
  }
  if (disk.device == GuestDevice::lun && disk.source != GuestSource::block) {
    return invalid("a lun is a block device");
  }
  if (disk.secret_uuid && !is_uuid(*disk.secret_uuid)) {
    return invalid("the secret of a guest's disk is named by a UUID");
  }
  if (!is_serial(disk.serial)) {
    return invalid("a disk's serial has up to 36 letters, digits, '_', '.', '+', '-'");
  }
  return check_tune(disk.tune);
}

// ` name='value'`, or nothing if there is no value.
std::string attribute(std::string_view name, std::string_view value) {
  return value.empty() ? std::string() : fmt::format(" {}='{}'", name, xml_escaped(value));
}

std::string driver_element(const GuestDisk& disk) {
  return "  <driver name='qemu'" + attribute("type", disk.format) +
         attribute("cache", word(disk.cache)) + attribute("io", word(disk.io)) +
         attribute("discard", word(disk.discard)) + "/>\n";
}

std::string source_element(const GuestDisk& disk) {
  const std::string_view name = disk.source == GuestSource::block ? "dev" : "file";
  const std::string opening = "  <source" + attribute(name, disk.path);
  if (!disk.secret_uuid) return opening + "/>\n";
  return opening + ">\n    <encryption format='luks'>\n      <secret type='passphrase'" +
         attribute("uuid", *disk.secret_uuid) + "/>\n    </encryption>\n  </source>\n";
}

std::string tune_element(const GuestIoTune& tune) {
  std::string inside;
  for (const Quota& quota : kQuotas) {
    if (const auto& value = tune.*quota.field) {
      inside += fmt::format("    <{0}>{1}</{0}>\n", quota.name, *value);
    }
  }
  return inside.empty() ? inside : "  <iotune>\n" + inside + "  </iotune>\n";
}

std::string small_elements(const GuestDisk& disk) {
  std::string text;
  if (disk.read_only || disk.device == GuestDevice::cdrom) text += "  <readonly/>\n";
  if (!disk.serial.empty()) text += "  <serial>" + xml_escaped(disk.serial) + "</serial>\n";
  if (disk.boot_order) text += fmt::format("  <boot order='{}'/>\n", *disk.boot_order);
  if (const auto& at = disk.address) {
    text +=
        fmt::format("  <address type='drive' controller='{}' bus='{}' target='{}' unit='{}'/>\n",
                    at->controller, at->bus, at->target, at->unit);
  }
  return text;
}

}  // namespace

Result<void> set_quota(GuestIoTune& tune, std::string_view name, std::string_view value) {
  std::string_view rest = name;
  if (rest.starts_with("quota:")) rest.remove_prefix(6);
  const bool prefixed = rest.starts_with("disk_");
  if (prefixed) rest.remove_prefix(5);
  const auto known = std::ranges::find(kQuotas, rest, &Quota::name);
  if (!prefixed || known == kQuotas.end()) {
    return invalid("'" + std::string(name) + "' is no limit of a disk");
  }
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (error != std::errc() || end != value.data() + value.size() || number > kMax) {
    return invalid("'" + std::string(value) + "' is no value for '" + std::string(name) + "'");
  }
  tune.*known->field = number;
  return {};
}

Result<std::string> guest_disk_xml(const GuestDisk& disk) {
  if (auto checked = check_disk(disk); !checked) return fail(std::move(checked.error()));
  const std::string_view type = disk.source == GuestSource::block ? "block" : "file";
  return "<disk" + attribute("type", type) + attribute("device", word(disk.device)) + ">\n" +
         driver_element(disk) + source_element(disk) + "  <target" + attribute("dev", disk.target) +
         attribute("bus", word(disk.bus)) + "/>\n" + tune_element(disk.tune) +
         small_elements(disk) + "</disk>\n";
}

}  // namespace platter::provision
