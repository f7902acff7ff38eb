#include "tests/support/file_targets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "io/bytes.h"
#include "io/check.h"

namespace platter::test {
namespace {

std::optional<FilesystemKind> kind_of(Place place) {
  switch (place) {
    case Place::tmpfs: return FilesystemKind::tmpfs;
    case Place::ext4: return FilesystemKind::ext4;
    case Place::xfs: return FilesystemKind::xfs;
    case Place::btrfs: return FilesystemKind::btrfs;
    default: return std::nullopt;
  }
}

// What the tests of this program share; taken down when they are all done.
struct Shared final : testing::Environment {
  std::optional<TempDir> folder;
  std::array<std::unique_ptr<MountedFilesystem>, 8> filesystems;

  void TearDown() override {
    for (auto& filesystem : filesystems) filesystem.reset();
    folder.reset();
  }
};
Shared& shared() {
  static auto* environment = new Shared;  // GoogleTest deletes it
  return *environment;
}
const auto* const kRegistered = testing::AddGlobalTestEnvironment(&shared());

void write_file(const std::string& path, std::span<const std::byte> contents, std::uint64_t size) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  PLATTER_CHECK(fd);
  for (std::size_t done = 0; done < contents.size();) {
    const ssize_t count = ::write(fd.get(), contents.data() + done, contents.size() - done);
    PLATTER_CHECK(count > 0);
    done += static_cast<std::size_t>(count);
  }
  PLATTER_CHECK(::ftruncate(fd.get(), static_cast<off_t>(size)) == 0);
}

}  // namespace

std::string to_string(Place place) {
  constexpr const char* kNames[] = {"disk", "tmpfs", "ext4", "xfs", "btrfs", "loop512", "loop4096"};
  return kNames[static_cast<std::size_t>(place)];
}

std::optional<std::string> missing(Place place) {
  if (place == Place::disk) return std::nullopt;
  return no_loop_devices();
}

MountedFilesystem& shared_filesystem(Place place) {
  auto& filesystem = shared().filesystems[static_cast<std::size_t>(place)];
  if (!filesystem) filesystem = std::make_unique<MountedFilesystem>(kind_of(place).value());
  return *filesystem;
}

TargetFile::TargetFile(Place place, std::span<const std::byte> contents, std::uint64_t size_min) {
  static std::atomic<unsigned> next_number{0};
  const std::string name = "file" + std::to_string(next_number++);
  if (kind_of(place)) {
    path_ = shared_filesystem(place) / name;
  } else {
    if (!shared().folder) shared().folder.emplace();
    path_ = *shared().folder / name;
  }
  backing_ = path_;
  std::uint64_t size = contents.size();
  if (is_block_device(place)) {
    size = std::max<std::uint64_t>({align_up(size, 4096), size_min, 4096});
  }
  write_file(backing_, contents, size);
  if (is_block_device(place)) {
    const std::uint32_t sector = place == Place::loop512 ? 512 : 4096;
    path_ = device_.emplace(backing_, LoopOptions{.sector_size = sector}).path();
  }
}

TargetFile::~TargetFile() { ::unlink(backing_.c_str()); }

std::vector<std::byte> TargetFile::contents() const {
  const UniqueFd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  PLATTER_CHECK(size >= 0);
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count =
        ::pread(fd.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    PLATTER_CHECK(count > 0);
    done += static_cast<std::size_t>(count);
  }
  return bytes;
}

std::string to_string(const FileSetup& setup) {
  return to_string(setup.place) + (setup.cache == CacheUse::buffered ? "_buffered" : "_direct") +
         (setup.engine == RingEngineKind::threads ? "_threads" : "_io_uring");
}

std::vector<FileSetup> setups_of(std::span<const Place> places) {
  std::vector<FileSetup> setups;
  for (const Place place : places) {
    for (const CacheUse cache : {CacheUse::direct_if_possible, CacheUse::buffered}) {
      for (const RingEngineKind engine : {RingEngineKind::io_uring, RingEngineKind::threads}) {
        setups.push_back({.place = place, .cache = cache, .engine = engine});
      }
    }
  }
  return setups;
}

std::vector<FileSetup> all_setups() {
  constexpr Place kPlaces[] = {Place::disk,  Place::tmpfs,   Place::ext4,    Place::xfs,
                               Place::btrfs, Place::loop512, Place::loop4096};
  return setups_of(kPlaces);
}

void FileSetupTest::SetUp() {
  if (const auto why = missing(GetParam().place)) GTEST_SKIP() << *why;
  Result<std::unique_ptr<Ring>> made = Ring::create({.engine = GetParam().engine, .threads = 4});
  if (!made) GTEST_SKIP() << made.error().message();
  ring = *std::move(made);
}

std::unique_ptr<DirectFile> FileSetupTest::open(const std::string& path, Access access) {
  Result<std::unique_ptr<DirectFile>> file =
      ring->run(DirectFile::open(path, {.access = access, .cache = GetParam().cache}));
  if (!file) ADD_FAILURE() << file.error().message();
  PLATTER_CHECK(file);
  return *std::move(file);
}

}  // namespace platter::test
