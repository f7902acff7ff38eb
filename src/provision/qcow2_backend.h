// Disks as qcow2 overlays over their bases.
#pragma once

#include <memory>

#include "src/provision/file_backend.h"

namespace platter::provision {

/// A new disk stands on its base, whose format it records; the base's path in it is absolute. Disks that
/// stand on a resized copy of the base, `<base>_<GB>`, as they were made once, get that copy again if it
/// is gone.
class Qcow2Backend final : public FileBackend {
 public:
  /// Makes the folders that are missing. Errors: those of Places::make().
  static Result<std::unique_ptr<ImageBackend>> open(Config config);
  /// The same for a look alone: only plan(), exists() and what else changes nothing can be used.
  static Result<std::unique_ptr<ImageBackend>> look(Config config);

  BackendKind kind() const noexcept override { return BackendKind::qcow2; }
  BackendCapabilities capabilities() const noexcept override {
    return {.overlays = true, .preallocation = true};
  }

 private:
  using FileBackend::FileBackend;
  Task<void> create_disk(DiskWork work) override;
  Task<void> restore_base(DiskWork work) override;
  void plan_disk(const DiskRequest& request, const std::optional<BaseImage>& base,
                 DiskReport& report) const override;
  Task<void> create_overlay(DiskWork work, const BaseImage* base);
  Task<void> restore_resized(const BaseImage& base, std::string name, std::uint64_t size,
                             const CancelToken* cancel);
};

}  // namespace platter::provision
