#include "tests/support/disk_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "io/unique_fd.h"

namespace platter::test {
namespace {

using Bytes = std::vector<std::byte>;

// Calls `take(offset, bytes)` for all that is not a hole.
template <class Take>
void for_each_extent(const Disk& disk, Take take) {
  Bytes piece;
  for (const Extent& extent : disk.extents(0, disk.size(), 1 << 20)) {
    if (!extent.data) continue;
    piece.resize(extent.length);
    disk.read(extent.offset, piece);
    take(extent.offset, piece);
  }
}

}  // namespace

Disk read_disk(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto size = static_cast<std::uint64_t>(::lseek(fd.get(), 0, SEEK_END));
  Disk disk(size);
  Bytes piece;
  for (off_t at = 0; (at = ::lseek(fd.get(), at, SEEK_DATA)) >= 0;) {
    const off_t end = ::lseek(fd.get(), at, SEEK_HOLE);
    piece.resize(static_cast<std::size_t>(end - at));
    EXPECT_EQ(::pread(fd.get(), piece.data(), piece.size(), at),
              static_cast<ssize_t>(piece.size()));
    disk.write(static_cast<std::uint64_t>(at), piece);
    at = end;
  }
  return disk;
}

void write_disk(const std::string& path, const Disk& disk) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(disk.size())), 0);
  for_each_extent(disk, [&](std::uint64_t offset, const Bytes& bytes) {
    EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
  });
}

std::size_t hash_of(const Disk& disk) {
  std::size_t hash = disk.size();
  for_each_extent(disk, [&](std::uint64_t offset, const Bytes& bytes) {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    hash = hash * 1'000'003 + offset * 31 + std::hash<std::string_view>()(text);
  });
  return hash;
}

}  // namespace platter::test
