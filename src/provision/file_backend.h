// What the backends that keep disks in files have in common.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "io/path_lookup.h"
#include "src/provision/base_cache.h"
#include "src/provision/image_backend.h"
#include "src/provision/places.h"

namespace platter::provision {

/// A disk is `<instances>/<uuid>/<disk>`; its format is recorded in `disk.info` beside it.
class FileBackend : public ImageBackend {
 public:
  Result<std::string> path_of(const DiskName& name) const final;
  Task<bool> exists(DiskName name) final;
  Task<DiskReport> provision(DiskRequest request) final;
  Task<DiskReport> plan(DiskRequest request) final;
  Task<bool> grow(DiskName name, std::uint64_t size) final;
  Task<std::uint64_t> disk_size(DiskName name) final;
  Task<std::string> resolve_format(DiskName name) final;
  Task<void> extract(ExtractRequest request) final;
  Task<bool> remove(DiskName name, const CancelToken* cancel) final;

 protected:
  FileBackend(Config config, Places places);

  /// One request at work on one disk, under the instance's lock.
  struct DiskWork {
    const DiskRequest& request;
    LockLedger& ledger;
    DiskReport& report;
  };
  /// Makes the disk under its name, whole or not at all, and sets the report's format and base.
  virtual Task<void> create_disk(DiskWork work) = 0;
  /// Makes what an existing disk stands on anew if it is gone.
  virtual Task<void> restore_base(DiskWork work) = 0;
  /// What create_disk() would report. `base`: what is there of it.
  virtual void plan_disk(const DiskRequest& request, const std::optional<BaseImage>& base,
                         DiskReport& report) const = 0;

  const Config& config() const noexcept { return config_; }
  const Places& places() const noexcept { return places_; }
  BaseCache& bases() noexcept { return bases_; }
  PathLookup lookup() const { return places_.root.lookup(); }

 private:
  Result<Folder> instance_folder(const DiskName& name) const;
  Task<void> provision_in(const Folder& folder, DiskWork work);
  Task<void> create_in(const Folder& folder, DiskWork work);
  Task<void> keep_existing(const Folder& folder, DiskWork work);
  Task<void> complete(const Folder& folder, DiskWork work);
  Task<std::string> format_in(const Folder& folder, std::string path) const;
  Task<std::string> recorded_format(const Folder& folder, std::string path) const;
  Task<void> check_unused(std::string path, std::string format) const;

  const Config config_;
  const Places places_;
  BaseCache bases_{places_, config_};
};

}  // namespace platter::provision
