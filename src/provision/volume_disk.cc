#include "src/provision/volume_disk.h"

#include <chrono>
#include <utility>

#include "io/bytes.h"
#include "io/direct_file.h"
#include "io/ring.h"

namespace platter::provision {
namespace {

constexpr std::string_view kPartial = ".partial";
// As cryptsetup places data behind headers: LUKS2 16 MiB; LUKS1 2 MiB for keys of up to 512 bits.
constexpr std::uint64_t kLuks2Header = 16 * kMiB;
constexpr std::uint64_t kLuks1Header = 2 * kMiB;
// How long others, and the kernel itself, may keep a device after they are done with it.
constexpr int kBusyTries = 50;
constexpr std::chrono::milliseconds kBusyPause{100};

std::string partial_name(std::string_view volume) { return std::string(volume).append(kPartial); }

Result<void> told(const VolumeDiskRequest& request, VolumeStep step) {
  return request.after_step ? request.after_step(step) : Result<void>();
}

std::uint64_t header_size(const VolumeDiskRequest& request) {
  if (!request.encryption) return 0;
  const auto* luks = std::get_if<LuksParameters>(&request.encryption->how);
  if (luks == nullptr) return 0;
  return luks->version == LuksVersion::luks2 ? kLuks2Header : kLuks1Header;
}

Result<void> check_request(const VolumeDiskRequest& request) {
  if (request.size == 0)
    return fail(ErrorKind::invalid_argument, "a disk of no bytes can't be made");
  if (request.kind != platter::VolumeKind::linear && request.kind != platter::VolumeKind::thin) {
    return fail(ErrorKind::invalid_argument,
                "a disk's volume is linear or thin, not " + std::string(to_string(request.kind)));
  }
  if ((request.kind == platter::VolumeKind::thin) == request.pool.empty()) {
    return fail(ErrorKind::invalid_argument, "a pool is for thin volumes, which need one");
  }
  if (request.encryption && request.encryption->key.empty()) {
    return fail(ErrorKind::invalid_argument, "an encrypted disk needs a key");
  }
  return {};
}

// Nobody else may be using it. Who has just closed it is waited for: the kernel takes its time.
Task<std::unique_ptr<DirectFile>> open_exclusively(std::string path) {
  for (int tries = 1;; ++tries) {
    FileOptions options{.access = Access::read_write};
    options.exclusive_device = true;
    auto device = co_await DirectFile::open(path, std::move(options)).result();
    if (device) co_return *std::move(device);
    const bool busy = device.error().kind() == ErrorKind::in_use;
    if (!busy || tries >= kBusyTries) co_return fail(std::move(device.error()));
    co_await Ring::current().sleep(kBusyPause);
  }
}

// Runs `work` on the device and closes it whatever comes.
template <class Work>
Task<void> with_device(std::string path, Work& work) {
  const std::unique_ptr<DirectFile> device = co_await open_exclusively(std::move(path));
  Result<void> done = co_await work(*device).result();
  Result<void> closed = co_await device->close().result();
  co_await std::move(done);
  co_await std::move(closed);
}

// A linear volume holds what was in its place before: of others' disks, perhaps.
Task<void> clear_device(std::string path, const CancelToken* cancel) {
  auto clear = [cancel](File& device) {
    return wipe(device, WipePolicy{.method = WipeMethod::zero}, cancel);
  };
  co_await with_device(std::move(path), clear);
}

// The first error counts; what could not be undone is added to it.
Error joined(Error error, const Result<bool>& undone, const std::string& volume) {
  if (undone) return error;
  return Error(error.kind(), error.message() + "; and volume '" + volume +
                                 "' could not be removed: " + undone.error().message());
}

}  // namespace

Task<std::uint64_t> size_of_device(std::string path) {
  const std::unique_ptr<DirectFile> device =
      co_await DirectFile::open(std::move(path), FileOptions{});
  Result<std::uint64_t> size = co_await device->size().result();
  Result<void> closed = co_await device->close().result();
  const std::uint64_t bytes = co_await std::move(size);
  co_await std::move(closed);
  co_return bytes;
}

std::string VolumeDisks::mapping_name(std::string_view volume) {
  return std::string(volume) + "-dmcrypt";
}
std::string VolumeDisks::mapping_path(std::string_view volume) {
  return "/dev/mapper/" + mapping_name(volume);
}

Task<std::optional<VolumeInfo>> VolumeDisks::find(std::string name) const {
  Result<VolumeInfo> info = co_await group_.volume(name).result();
  if (info) co_return *std::move(info);
  if (info.error().kind() == ErrorKind::not_found) {
    co_await group_.info();  // the group itself must be there
    co_return std::nullopt;
  }
  co_return fail(std::move(info.error()));
}

// True: there is not enough for all that is promised. Errors: no_space.
Task<bool> VolumeDisks::check_space(const VolumeDiskRequest& request,
                                    std::uint64_t volume_size) const {
  const VolumeGroupInfo info = co_await group_.info();
  if (request.kind == platter::VolumeKind::linear) {
    if (volume_size <= info.free) co_return false;
    co_return fail(ErrorKind::no_space, "volume group '" + group_.name() + "' has " +
                                            std::to_string(info.free) + " bytes free, and " +
                                            std::to_string(volume_size) + " are needed");
  }
  std::uint64_t promised = volume_size;
  std::uint64_t has = 0;
  for (const VolumeInfo& volume : co_await group_.volumes()) {
    if (volume.kind == platter::VolumeKind::thin_pool && volume.name == request.pool)
      has = volume.size;
    if (volume.kind == platter::VolumeKind::thin && volume.pool == request.pool)
      promised += volume.size;
  }
  co_return promised > has;
}

Task<VolumeDiskReport> VolumeDisks::create(VolumeDiskRequest request) const {
  co_await check_request(request);
  co_await look_for_cancel(request.cancel);
  if (co_await find(request.volume)) {
    co_return fail(ErrorKind::already_exists,
                   "there is a volume '" + group_.path_of(request.volume) + "' already");
  }
  const std::string partial = partial_name(request.volume);
  const bool leftover_mapping = co_await unmap(request.volume);
  const bool leftover = co_await remove_volume(partial, request.wipe, request.cancel);
  Result<VolumeDiskReport> made = co_await make(request).result();
  if (made) {
    made->removed_leftover = leftover || leftover_mapping;
    co_return *std::move(made);
  }
  // The undoing is not to be cancelled.
  Result<bool> undone = co_await unmap(request.volume).result();
  for (const std::string& name : {partial, request.volume}) {
    if (undone) undone = co_await remove_volume(name, request.wipe, nullptr).result();
  }
  co_return fail(joined(std::move(made.error()), undone, group_.path_of(request.volume)));
}

Task<VolumeDiskReport> VolumeDisks::make(const VolumeDiskRequest& request) const {
  const std::uint64_t volume_size = request.size + header_size(request);
  VolumeDiskReport report;
  report.overcommitted = co_await check_space(request, volume_size);
  NewVolume wanted{.name = partial_name(request.volume), .kind = request.kind, .size = volume_size};
  wanted.pool = request.pool;
  const VolumeInfo volume = co_await group_.create(std::move(wanted));
  co_await told(request, VolumeStep::created);

  const std::string device = co_await prepare_device(request, volume);
  if (request.fill) co_await request.fill(device);
  co_await told(request, VolumeStep::filled);
  report.size = co_await size_of_device(device);
  if (report.size < request.size) {
    co_return fail(ErrorKind::no_space, "'" + device + "' has " + std::to_string(report.size) +
                                            " bytes, and " + std::to_string(request.size) +
                                            " are needed");
  }
  co_await look_for_cancel(request.cancel);
  co_await group_.rename(partial_name(request.volume), request.volume);
  co_await told(request, VolumeStep::named);
  report.path = request.encryption ? device : group_.path_of(request.volume);
  co_return report;
}

// The device that is to be filled.
Task<std::string> VolumeDisks::prepare_device(const VolumeDiskRequest& request,
                                              const VolumeInfo& made) const {
  std::string device = group_.path_of(made.name);
  if (request.encryption) {
    co_await encrypt(request, device);
    co_return mapping_path(request.volume);
  }
  if (request.kind == platter::VolumeKind::linear) co_await clear_device(device, request.cancel);
  co_await told(request, VolumeStep::cleared);
  co_return device;
}

Task<void> VolumeDisks::encrypt(const VolumeDiskRequest& request, const std::string& device) const {
  const VolumeEncryption& encryption = *request.encryption;
  const std::string name = mapping_name(request.volume);
  if (const auto* plain = std::get_if<PlainParameters>(&encryption.how)) {
    co_await open_plain(device, name, *plain, encryption.key);
  } else {
    co_await format_luks(device, std::get<LuksParameters>(encryption.how), encryption.key);
    co_await told(request, VolumeStep::formatted);
    co_await open_luks(device, name, encryption.key);
  }
  co_await told(request, VolumeStep::mapped);
}

Task<std::string> VolumeDisks::map(std::string volume, VolumeEncryption encryption) const {
  co_await group_.volume(volume);
  const std::string device = group_.path_of(volume);
  if (const auto* plain = std::get_if<PlainParameters>(&encryption.how)) {
    co_await open_plain(device, mapping_name(volume), *plain, encryption.key);
  } else {
    co_await open_luks(device, mapping_name(volume), encryption.key);
  }
  co_return mapping_path(volume);
}

// False: there was no mapping.
Task<bool> VolumeDisks::unmap(const std::string& volume) const {
  if (!co_await mapping_status(mapping_name(volume))) co_return false;
  co_await close_mapping(mapping_name(volume));
  co_return true;
}

Task<bool> VolumeDisks::remove_volume(const std::string& name, WipePolicy policy,
                                      const CancelToken* cancel) const {
  const std::optional<VolumeInfo> volume = co_await find(name);
  if (!volume) co_return false;
  if (volume->kind != platter::VolumeKind::thin && policy.method != WipeMethod::none) {
    if (!volume->active) co_await group_.activate(name);
    auto clear = [&policy, cancel](File& device) { return wipe(device, policy, cancel); };
    co_await with_device(group_.path_of(name), clear);
  }
  for (int tries = 1;; ++tries) {
    Result<void> removed = co_await group_.remove(name).result();
    if (removed) co_return true;
    const bool busy = removed.error().kind() == ErrorKind::in_use;
    if (!busy || tries >= kBusyTries) co_return fail(std::move(removed.error()));
    co_await Ring::current().sleep(kBusyPause);
  }
}

Task<bool> VolumeDisks::remove(std::string volume, WipePolicy wipe,
                               const CancelToken* cancel) const {
  co_await look_for_cancel(cancel);
  const bool unmapped = co_await unmap(volume);
  const bool partial = co_await remove_volume(partial_name(volume), wipe, cancel);
  const bool removed = co_await remove_volume(volume, wipe, cancel);
  co_return unmapped || partial || removed;
}

}  // namespace platter::provision
