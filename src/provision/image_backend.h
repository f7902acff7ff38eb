// Where instances' disks are kept, and how they are made of base images.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "io/cancel.h"
#include "io/task.h"
#include "src/ops/progress.h"
#include "src/provision/config.h"
#include "src/provision/expected_digest.h"
#include "src/provision/names.h"
#include "src/provision/template_source.h"

namespace platter::provision {

struct BackendCapabilities {
  bool overlays = false;       ///< a disk stands on its base instead of holding a copy
  bool preallocation = false;  ///< space can be reserved without being written
  bool encryption = false;
  bool devices = false;  ///< disks are block devices, not files
};

/// The image that a disk is made from.
struct BaseRequest {
  /// Of its file in the folder of bases; see base_name_of() and check_file_name().
  std::string name;
  /// Where it comes from if it is missing. Outlives the request; null: it must be there (not_found).
  TemplateSource* source = nullptr;
  /// What whoever brought the template says that it is; empty: nothing was said.
  std::string declared_format;
  std::optional<ExpectedDigest> digest;  ///< of the template as it comes
  /// It was made here (a filesystem, a swap area) and not brought from elsewhere: flat disks and
  /// volumes are filled from it directly, without a base in between.
  bool generated = false;
};

struct DiskRequest {
  DiskName name;
  std::optional<BaseRequest> base;  ///< nothing: an empty disk
  /// Bytes. Nothing: as large as the base. An existing disk grows to it and never shrinks.
  std::optional<std::uint64_t> size;
  /// Errors: already_exists, where otherwise an existing disk is grown and kept.
  bool must_be_new = false;
  Progress* progress = nullptr;
  const CancelToken* cancel = nullptr;
};

/// What there is, or (of a plan) what there would be.
struct DiskReport {
  std::string path;                ///< of the file or the device
  std::string format;              ///< as a guest's driver must be told: "raw" or "qcow2"
  std::uint64_t virtual_size = 0;  ///< bytes
  std::optional<std::string> backing_file;
  std::optional<std::string> backing_format;
  std::optional<std::string> base;  ///< the path of the base, where there is one
  bool created = false;             ///< the disk was not there before
  bool base_fetched = false;        ///< nor was its base
  bool grown = false;               ///< it was there, and smaller
  bool shares_blocks = false;       ///< a copy that shares the base's blocks
};

struct ExtractRequest {
  DiskName name;
  std::string target;          ///< a path of the caller's own
  std::string format = "raw";  ///< or qcow2
  bool compress = false;       ///< qcow2
  Progress* progress = nullptr;
  const CancelToken* cancel = nullptr;
};

/// One place for disks. Belongs to its ring's thread. Any number of requests may be in flight; those
/// for one instance, or for one missing base, wait for each other, across processes.
///
/// Whatever a failed request made is gone when it returns; what was there before stays. After a kill,
/// the next request for the same disk finishes or removes what was left. Asking twice is harmless.
///
/// Errors, everywhere: invalid_argument (names), timed_out (a lock: its holder is named), cancelled,
/// refused_by_policy (a link where none may be), corrupt_image, no_space, permission, io.
class ImageBackend {
 public:
  ImageBackend() = default;
  virtual ~ImageBackend() = default;
  ImageBackend(const ImageBackend&) = delete;
  ImageBackend& operator=(const ImageBackend&) = delete;

  virtual BackendKind kind() const noexcept = 0;
  virtual BackendCapabilities capabilities() const noexcept = 0;
  /// Where the disk is, or would be. Errors: invalid_argument (no such name can be made).
  virtual Result<std::string> path_of(const DiskName& name) const = 0;

  virtual Task<bool> exists(DiskName name) = 0;
  /// Makes the disk: fetches the base if it is missing, creates, grows, reserves space.
  /// Errors: too_large (the base is larger than the size asked for), not_found, wrong_digest, in_use (an existing disk
  /// that would have to grow is in use), unknown_format, and those of the source.
  virtual Task<DiskReport> provision(DiskRequest request) = 0;
  /// What provision() would do. Changes nothing, takes no lock, fetches nothing: the size of a base that
  /// is missing is not known, and 0 then.
  virtual Task<DiskReport> plan(DiskRequest request) = 0;

  /// Sets the virtual size of an existing disk, upwards; smaller sizes change nothing. False: nothing
  /// was to do. Errors: not_found, in_use.
  virtual Task<bool> grow(DiskName name, std::uint64_t size) = 0;
  /// The virtual size in bytes. Errors: not_found.
  virtual Task<std::uint64_t> disk_size(DiskName name) = 0;
  /// The format that the disk was made with: as recorded; if nothing was, it is looked at once and
  /// recorded. Errors: not_found, unknown_format.
  virtual Task<std::string> resolve_format(DiskName name) = 0;

  /// Writes the disk's contents, with all that it stands on, into an image of its own.
  /// Errors: not_found, in_use, unsupported.
  virtual Task<void> extract(ExtractRequest request) = 0;
  /// False if there was none. The base stays. Errors: in_use.
  virtual Task<bool> remove(DiskName name, const CancelToken* cancel) = 0;
};

/// A disk can't be smaller than what it is made from. Errors: too_large.
Result<void> verify_base_size(std::uint64_t base_size, std::optional<std::uint64_t> size,
                              const std::string& base);

/// The error for a request that needs a disk.
std::unexpected<Error> no_such_disk(const std::string& path);

}  // namespace platter::provision
