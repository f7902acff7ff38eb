// The places that a DirectFile must work on, and ways of working on them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/direct_file.h"
#include "io/ring.h"
#include "tests/support/loop_device.h"
#include "tests/support/temp_dir.h"

namespace platter::test {

/// What a file is on. Other than on `disk` tests need root.
enum class Place : std::uint8_t {
  disk,  ///< where $TMPDIR is
  tmpfs,
  ext4,     ///< on a loop device
  xfs,      ///< likewise; requests of 512 bytes, blocks of 4096
  btrfs,    ///< likewise
  loop512,  ///< a block device with sectors of 512 bytes
  loop4096,
};
std::string to_string(Place place);
inline bool is_block_device(Place place) {
  return place == Place::loop512 || place == Place::loop4096;
}

/// Why there is no such place here, or nothing.
std::optional<std::string> missing(Place place);

/// The filesystem of that kind that all tests of this program share; made when first asked for.
/// REQUIRES: !missing(place), and `place` is a filesystem other than `disk`.
MountedFilesystem& shared_filesystem(Place place);

/// A new file or device with given contents, gone with this object.
class TargetFile {
 public:
  /// On a block device `contents` is padded with zeroes to the device's size: a multiple of 4096,
  /// at least `size_min`.
  explicit TargetFile(Place place, std::span<const std::byte> contents = {},
                      std::uint64_t size_min = 0);
  ~TargetFile();
  TargetFile(const TargetFile&) = delete;
  TargetFile& operator=(const TargetFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  /// What is there now, read by ordinary means.
  std::vector<std::byte> contents() const;

 private:
  std::string backing_;
  std::string path_;
  std::optional<LoopDevice> device_;
};

/// One of all combinations: where, past the page cache or not, by io_uring or by threads.
struct FileSetup {
  Place place = Place::disk;
  CacheUse cache = CacheUse::direct_if_possible;
  RingEngineKind engine = RingEngineKind::io_uring;
};
std::string to_string(const FileSetup& setup);  // "xfs_direct_io_uring"
std::vector<FileSetup> all_setups();
std::vector<FileSetup> setups_of(std::span<const Place> places);

/// For parameterised tests over setups: a ring, files, and their operations as plain calls.
class FileSetupTest : public testing::TestWithParam<FileSetup> {
 protected:
  void SetUp() override;

  /// REQUIRES: it can be opened.
  std::unique_ptr<DirectFile> open(const std::string& path, Access access = Access::read_write);
  std::unique_ptr<DirectFile> open(const TargetFile& target) { return open(target.path()); }
  /// The task's value, which must not be an error.
  template <class T>
  T get(Task<T> task) {
    Result<T> result = ring->run(std::move(task));
    if (!result) ADD_FAILURE() << result.error().message();
    if constexpr (!std::is_void_v<T>) return result ? *std::move(result) : T();
  }
  /// The task's error, which must be one.
  template <class T>
  Error error(Task<T> task) {
    Result<T> result = ring->run(std::move(task));
    if (!result) return std::move(result.error());
    ADD_FAILURE() << "this should fail";
    return Error(ErrorKind::io, "no error");
  }

  std::unique_ptr<Ring> ring;
};

/// How GoogleTest shows the parameter.
inline void PrintTo(const FileSetup& setup, std::ostream* stream) { *stream << to_string(setup); }

/// The third argument of INSTANTIATE_TEST_SUITE_P: names without slashes.
inline std::string setup_name(const testing::TestParamInfo<FileSetup>& info) {
  return to_string(info.param);
}

}  // namespace platter::test
