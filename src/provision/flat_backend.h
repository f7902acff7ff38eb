// Disks as files that stand for themselves.
#pragma once

#include <memory>

#include "src/provision/file_backend.h"

namespace platter::provision {

/// A new disk is a copy of its base, which shares the base's blocks where the filesystem can; it has the
/// base's format. What is generated, or empty, is made in place, raw.
class FlatBackend final : public FileBackend {
 public:
  /// As those of Qcow2Backend.
  static Result<std::unique_ptr<ImageBackend>> open(Config config);
  static Result<std::unique_ptr<ImageBackend>> look(Config config);

  BackendKind kind() const noexcept override { return BackendKind::flat; }
  BackendCapabilities capabilities() const noexcept override { return {.preallocation = true}; }

 private:
  using FileBackend::FileBackend;
  Task<void> create_disk(DiskWork work) override;
  Task<void> restore_base(DiskWork work) override;
  void plan_disk(const DiskRequest& request, const std::optional<BaseImage>& base,
                 DiskReport& report) const override;
  Task<void> generate(DiskWork work);
  Task<bool> copy(const BaseImage& base, DiskWork work);
};

}  // namespace platter::provision
