// What a guest's definition says of a disk: as data, and as libvirt's XML.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "io/error.h"

namespace platter::provision {

enum class GuestSource : std::uint8_t { file, block };
enum class GuestDevice : std::uint8_t { disk, cdrom, lun };
enum class GuestBus : std::uint8_t { virtio, scsi, sata, ide, usb };
enum class GuestCache : std::uint8_t {
  unsaid,
  none,
  writethrough,
  writeback,
  directsync,
  unsafe,
};
enum class GuestDiscard : std::uint8_t { unsaid, ignore, unmap };
enum class GuestIo : std::uint8_t { unsaid, native, threads, io_uring };

/// libvirt's address of type "drive": where on a SCSI, SATA or IDE controller.
struct GuestDriveAddress {
  unsigned controller = 0;
  unsigned bus = 0;
  unsigned target = 0;
  unsigned unit = 0;
};

/// Limits, each second. A total excludes those of reads and writes, as in libvirt.
struct GuestIoTune {
  std::optional<std::uint64_t> total_bytes_sec;
  std::optional<std::uint64_t> read_bytes_sec;
  std::optional<std::uint64_t> write_bytes_sec;
  std::optional<std::uint64_t> total_iops_sec;
  std::optional<std::uint64_t> read_iops_sec;
  std::optional<std::uint64_t> write_iops_sec;
};

/// One limit by the name that flavours give it: "quota:disk_read_bytes_sec" and the like, with or without
/// "quota:". Errors: invalid_argument (another name; no number from 0 to 2^63 - 1).
Result<void> set_quota(GuestIoTune& tune, std::string_view name, std::string_view value);

struct GuestDisk {
  GuestSource source = GuestSource::file;
  std::string path;  ///< absolute
  std::string format =
      "raw";  ///< what QEMU is told, so that it never probes: raw, qcow2, luks, ...
  GuestDevice device = GuestDevice::disk;
  GuestCache cache = GuestCache::none;
  GuestDiscard discard = GuestDiscard::unsaid;
  GuestIo io = GuestIo::unsaid;  ///< native needs a cache of none or directsync
  GuestBus bus = GuestBus::virtio;
  std::string target;  ///< "vda"
  std::optional<GuestDriveAddress> address;
  std::optional<unsigned> boot_order;  ///< from 1 on
  GuestIoTune tune;
  /// Of the libvirt secret that opens the image's own LUKS encryption: never the key.
  std::optional<std::string> secret_uuid;
  std::string serial;  ///< up to 36 letters, digits, "_.+-"
  bool read_only = false;
};

/// The <disk> element, indented by two blanks for each level, with a newline at its end; valid by
/// libvirt's schema. Errors: invalid_argument, for what libvirt or QEMU would refuse or XML can't hold: a
/// path that is not absolute, or not UTF-8, or has control characters; no such target; ...
Result<std::string> guest_disk_xml(const GuestDisk& disk);

}  // namespace platter::provision
