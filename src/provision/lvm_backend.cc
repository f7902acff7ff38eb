#include "src/provision/lvm_backend.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "crypto/key_file.h"
#include "formats/open.h"
#include "io/bytes.h"
#include "io/direct_file.h"
#include "src/ops/copy_engine.h"
#include "src/provision/image_files.h"
#include "src/provision/instance_lock.h"

namespace platter::provision {
namespace {

constexpr std::size_t kKeyFileMax = 8 * kMiB;

// What is at rest in a file of its own must be its owner's alone.
Result<Secret> read_key(const EncryptionConfig& encryption) {
  return read_secret_file(encryption.key_file, SecretFileMode::owner_only, kKeyFileMax);
}

// REQUIRES: the request has a base with a source, and a size.
Task<void> fetch_onto(const DiskRequest& request, File& device) {
  FetchOptions options{.progress = request.progress, .cancel = request.cancel};
  options.limits.size_max = *request.size;
  options.limits.digest = request.base->digest;
  co_await request.base->source->fetch(device, std::move(options));
  co_await device.flush();
}

Task<void> generate_on(std::string path, const DiskRequest& request) {
  const std::unique_ptr<DirectFile> device =
      co_await DirectFile::open(std::move(path), FileOptions{.access = Access::read_write});
  Result<void> done = co_await fetch_onto(request, *device).result();
  Result<void> closed = co_await device->close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

// What a volume grew by holds what was there before: of others' disks, perhaps.
Task<void> zero_from(std::string path, std::uint64_t offset) {
  const std::unique_ptr<DirectFile> device =
      co_await DirectFile::open(std::move(path), FileOptions{.access = Access::read_write});
  Result<std::uint64_t> size = co_await device->size().result();
  Result<void> done;
  if (size) {
    done = co_await device->write_zeroes(offset, *size - offset, ZeroMode::may_unmap).result();
    if (done) done = co_await device->flush().result();
  }
  Result<void> closed = co_await device->close().result();
  co_await std::move(size);
  co_await std::move(done);
  co_await std::move(closed);
}

}  // namespace

Result<std::unique_ptr<ImageBackend>> LvmBackend::make(Config config, Result<Places> places) {
  if (!places) return fail(std::move(places.error()));
  if (config.volumes.kind == VolumeKind::sparse) {
    return fail(ErrorKind::unsupported,
                "Sparse volumes as snapshots are not made; thin volumes are the better way");
  }
  Result<VolumeGroup> group = VolumeGroup::named(config.volumes.volume_group);
  if (!group) return fail(std::move(group.error()));
  return std::unique_ptr<ImageBackend>(
      new LvmBackend(std::move(config), *std::move(places), *std::move(group)));
}

Result<std::unique_ptr<ImageBackend>> LvmBackend::open(Config config) {
  Result<Places> places = Places::make(config);
  return make(std::move(config), std::move(places));
}

Result<std::unique_ptr<ImageBackend>> LvmBackend::look(Config config) {
  Result<Places> places = Places::look(config);
  return make(std::move(config), std::move(places));
}

Result<std::string> LvmBackend::path_of(const DiskName& name) const {
  const Result<std::string> volume = volume_name(name);
  if (!volume) return fail(volume.error().clone());
  return config_.encryption.enabled ? VolumeDisks::mapping_path(*volume) : group_.path_of(*volume);
}

Task<std::optional<VolumeInfo>> LvmBackend::find(const DiskName& name) const {
  co_return co_await disks_.find(co_await volume_name(name));
}

Task<bool> LvmBackend::exists(DiskName name) { co_return (co_await find(name)).has_value(); }

Result<VolumeEncryption> LvmBackend::encryption(KeyView key) const {
  const EncryptionConfig& wanted = config_.encryption;
  if (wanted.format == EncryptionFormat::plain) {
    PlainParameters plain{.cipher = wanted.cipher, .key_bits = wanted.key_bits};
    if (!wanted.hash.empty()) plain.hash = wanted.hash;
    return VolumeEncryption{.how = std::move(plain), .key = key};
  }
  LuksParameters luks{.cipher = wanted.cipher, .key_bits = wanted.key_bits};
  luks.version = wanted.format == EncryptionFormat::luks1 ? LuksVersion::luks1 : LuksVersion::luks2;
  if (!wanted.hash.empty()) luks.hash = wanted.hash;
  return VolumeEncryption{.how = std::move(luks), .key = key};
}

Task<DiskReport> LvmBackend::provision(DiskRequest request) {
  DiskReport report{.path = co_await path_of(request.name), .format = "raw"};
  LockLedger ledger;
  const auto lock = co_await lock_instance(places_, config_, request.name, ledger, request.cancel);
  const std::optional<VolumeInfo> there = co_await find(request.name);
  if (there && request.must_be_new) {
    co_return fail(ErrorKind::already_exists, fmt::format("'{}' exists already", report.path));
  }
  if (there) {
    if (!there->active) co_await group_.activate(there->name);
    co_await keep_existing(request, report);
  } else {
    co_await create(request, ledger, report);
  }
  co_return report;
}

Task<void> LvmBackend::create(const DiskRequest& request, LockLedger& ledger, DiskReport& report) {
  if (request.base && !request.base->generated) {
    co_await create_from_base(request, ledger, report);
  } else {
    co_await create_generated(request, report);
  }
  report.created = true;
}

Task<void> LvmBackend::create_from_base(const DiskRequest& request, LockLedger& ledger,
                                        DiskReport& report) {
  // The base is held while it is copied.
  const HeldBase base =
      co_await bases_.get(*request.base, ledger, request.progress, request.cancel);
  report.base_fetched = base.image.fetched;
  report.base = base.image.path;
  co_await verify_base_size(base.image.virtual_size, request.size, base.image.path);
  VolumeDiskRequest wanted;
  wanted.size = std::max(base.image.virtual_size, request.size.value_or(0));
  wanted.fill = [this, &base, &request](std::string device) {
    return copy_base(base.image, std::move(device), request);
  };
  co_await make_volume(std::move(wanted), request, report);
}

// The format is known: the base's own, and raw.
Task<void> LvmBackend::copy_base(BaseImage base, std::string device,
                                 const DiskRequest& request) const {
  const OpenOptions reading{.purpose = OpenPurpose::read_stable, .format = base.format};
  const OpenedImage source =
      co_await open_image(base.path, reading, policy_below(places_.root.lookup()));
  Result<void> copied = co_await copy_onto(*source.image, std::move(device), request).result();
  Result<void> closed = co_await source.image->close().result();
  co_await std::move(copied);
  co_await std::move(closed);
}

Task<void> LvmBackend::copy_onto(Image& base, std::string device,
                                 const DiskRequest& request) const {
  const OpenOptions writing{.purpose = OpenPurpose::write_whole, .format = "raw"};
  const OpenedImage target = co_await open_image(std::move(device), writing, OpenPolicy());
  CopyOptions options{.cancel = request.cancel, .progress = request.progress};
  // Volumes are zeroed, or new in their pool; what a mapping shows is noise.
  options.target_is_zero = !config_.encryption.enabled;
  Result<CopyStats> copied = co_await copy_image(base, *target.image, options).result();
  Result<void> durable = copied ? co_await target.image->finish().result() : Result<void>();
  Result<void> closed = co_await target.image->close().result();
  co_await std::move(copied);
  co_await std::move(durable);
  co_await std::move(closed);
}

Task<void> LvmBackend::create_generated(const DiskRequest& request, DiskReport& report) {
  if (!request.size) co_await fail(ErrorKind::invalid_argument, "A volume needs a size");
  VolumeDiskRequest wanted;
  wanted.size = *request.size;
  if (request.base && request.base->source != nullptr) {
    wanted.fill = [&request](std::string device) {
      return generate_on(std::move(device), request);
    };
  }
  co_await make_volume(std::move(wanted), request, report);
}

Task<void> LvmBackend::make_volume(VolumeDiskRequest wanted, const DiskRequest& request,
                                   DiskReport& report) {
  if (wanted.size > config_.limits.disk_max) {
    co_await fail(ErrorKind::too_large, fmt::format("A disk of {} bytes is over the limit of {}",
                                                    wanted.size, config_.limits.disk_max));
  }
  wanted.volume = co_await volume_name(request.name);
  if (config_.volumes.kind == VolumeKind::thin) {
    wanted.kind = platter::VolumeKind::thin;
    wanted.pool = config_.volumes.thin_pool;
  }
  wanted.wipe = config_.volumes.clear;
  wanted.cancel = request.cancel;
  Secret key;
  if (config_.encryption.enabled) {
    key = co_await read_key(config_.encryption);
    wanted.encryption = co_await encryption(key.view());
  }
  const VolumeDiskReport made = co_await disks_.create(std::move(wanted));
  report.virtual_size = made.size;
}

Task<void> LvmBackend::keep_existing(const DiskRequest& request, DiskReport& report) {
  const std::string volume = co_await volume_name(request.name);
  const bool encrypted = config_.encryption.enabled;
  if (encrypted && !co_await mapping_status(VolumeDisks::mapping_name(volume))) {
    const Secret key = co_await read_key(config_.encryption);
    co_await disks_.map(volume, co_await encryption(key.view()));
  }
  if (request.size) report.grown = co_await grow_locked(request.name, *request.size);
  report.virtual_size = co_await size_of_device(report.path);
}

Task<DiskReport> LvmBackend::plan(DiskRequest request) {
  DiskReport report{.path = co_await path_of(request.name), .format = "raw"};
  std::optional<BaseImage> base;
  const bool brought = request.base && !request.base->generated;
  if (brought) base = co_await bases_.look(request.base->name);
  report.virtual_size = request.size.value_or(0);
  if (const std::optional<VolumeInfo> volume = co_await find(request.name)) {
    report.grown = volume->size < report.virtual_size;
    report.virtual_size = std::max(report.virtual_size, volume->size);
    co_return report;
  }
  report.created = true;
  report.base_fetched = brought && !base;
  if (base) {
    co_await verify_base_size(base->virtual_size, request.size, base->path);
    report.base = base->path;
    report.virtual_size = std::max(report.virtual_size, base->virtual_size);
  }
  co_return report;
}

Task<bool> LvmBackend::grow(DiskName name, std::uint64_t size) {
  LockLedger ledger;
  const auto lock = co_await lock_instance(places_, config_, name, ledger, nullptr);
  co_return co_await grow_locked(name, size);
}

Task<bool> LvmBackend::grow_locked(const DiskName& name, std::uint64_t size) {
  const std::optional<VolumeInfo> volume = co_await find(name);
  const std::string path = co_await path_of(name);
  if (!volume) co_return no_such_disk(path);
  const std::uint64_t now = co_await size_of_device(path);
  if (size <= now) co_return false;
  // What of the volume is not the disk's: a header, which the kernel knows.
  std::uint64_t header = 0;
  if (config_.encryption.enabled) {
    const auto mapping = co_await mapping_status(VolumeDisks::mapping_name(volume->name));
    if (!mapping) co_return no_such_disk(path);
    header = mapping->offset;
  }
  // It is as large already where a grown volume's mapping stayed as it was.
  if (volume->size < size + header) co_await group_.extend(volume->name, size + header);
  if (!config_.encryption.enabled) {
    if (volume->kind == platter::VolumeKind::linear) co_await zero_from(path, now);
    co_return true;
  }
  const Secret key = co_await read_key(config_.encryption);
  const bool plain = config_.encryption.format == EncryptionFormat::plain;
  std::optional<KeyView> passphrase;
  if (!plain) passphrase = key.view();
  co_await resize_mapping(VolumeDisks::mapping_name(volume->name), std::nullopt, passphrase);
  co_return true;
}

Task<std::uint64_t> LvmBackend::disk_size(DiskName name) {
  const std::string path = co_await path_of(name);
  if (!co_await find(name)) co_return no_such_disk(path);
  co_return co_await size_of_device(path);
}

Task<std::string> LvmBackend::resolve_format(DiskName name) {
  if (!co_await find(name)) co_return no_such_disk(co_await path_of(name));
  co_return std::string("raw");
}

Task<void> LvmBackend::extract(ExtractRequest request) {
  co_await resolve_format(request.name);
  OpenPolicy policy;
  policy.formats = {"raw"};
  co_await extract_image(co_await path_of(request.name), "raw", std::move(policy),
                         std::move(request));
}

Task<bool> LvmBackend::remove(DiskName name, const CancelToken* cancel) {
  LockLedger ledger;
  const auto lock = co_await lock_instance(places_, config_, name, ledger, cancel);
  co_return co_await disks_.remove(co_await volume_name(name), config_.volumes.clear, cancel);
}

}  // namespace platter::provision
