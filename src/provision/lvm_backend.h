// Disks on logical volumes.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "formats/image.h"
#include "src/provision/base_cache.h"
#include "src/provision/image_backend.h"
#include "src/provision/places.h"
#include "src/provision/volume_disk.h"

namespace platter::provision {

/// A disk is the volume `<uuid>_<disk>`, each '_' of the disk's name doubled, always raw; encrypted, the
/// device is /dev/mapper/`<volume>-dmcrypt`. Bases and locks are in the folder of instances, as for the
/// file backends; see volume_disk.h for what a kill leaves and who removes it.
///
/// Of the configuration: volumes (linear or thin; Nova's sparse snapshots are unsupported), encryption
/// (the key is read for each request, and wiped), clear. REQUIRES: root, device-mapper.
class LvmBackend final : public ImageBackend {
 public:
  /// Errors: unsupported (sparse), invalid_argument (the group's name), and those of Places.
  static Result<std::unique_ptr<ImageBackend>> open(Config config);
  /// For plan() and what else only looks.
  static Result<std::unique_ptr<ImageBackend>> look(Config config);

  BackendKind kind() const noexcept override { return BackendKind::lvm; }
  BackendCapabilities capabilities() const noexcept override {
    return {.encryption = true, .devices = true};
  }
  Result<std::string> path_of(const DiskName& name) const override;
  Task<bool> exists(DiskName name) override;
  Task<DiskReport> provision(DiskRequest request) override;
  Task<DiskReport> plan(DiskRequest request) override;
  /// An encrypted disk must be mapped.
  Task<bool> grow(DiskName name, std::uint64_t size) override;
  Task<std::uint64_t> disk_size(DiskName name) override;
  Task<std::string> resolve_format(DiskName name) override;
  Task<void> extract(ExtractRequest request) override;
  Task<bool> remove(DiskName name, const CancelToken* cancel) override;

 private:
  LvmBackend(Config config, Places places, VolumeGroup group)
      : config_(std::move(config)), places_(std::move(places)), group_(group), disks_(group) {}

  static Result<std::unique_ptr<ImageBackend>> make(Config config, Result<Places> places);
  Task<std::optional<VolumeInfo>> find(const DiskName& name) const;
  Task<void> create(const DiskRequest& request, LockLedger& ledger, DiskReport& report);
  Task<void> create_from_base(const DiskRequest& request, LockLedger& ledger, DiskReport& report);
  Task<void> create_generated(const DiskRequest& request, DiskReport& report);
  Task<void> make_volume(VolumeDiskRequest wanted, const DiskRequest& request, DiskReport& report);
  Task<void> keep_existing(const DiskRequest& request, DiskReport& report);
  Task<void> copy_base(BaseImage base, std::string device, const DiskRequest& request) const;
  Task<void> copy_onto(Image& base, std::string device, const DiskRequest& request) const;
  Task<bool> grow_locked(const DiskName& name, std::uint64_t size);
  Result<VolumeEncryption> encryption(KeyView key) const;

  const Config config_;
  const Places places_;
  const VolumeGroup group_;
  const VolumeDisks disks_;
  BaseCache bases_{places_, config_};
};

}  // namespace platter::provision
