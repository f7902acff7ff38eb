#include "tests/support/sparse_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "io/unique_fd.h"

namespace platter::test {

Disk read_sparse(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const auto size = static_cast<std::uint64_t>(::lseek(fd.get(), 0, SEEK_END));
  Disk disk(size);
  std::vector<std::byte> piece;
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

void write_sparse(const std::string& path, const Disk& disk) {
  const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(disk.size())), 0);
  for_each_extent(disk, [&](std::uint64_t offset, const std::vector<std::byte>& bytes) {
    EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
  });
}

}  // namespace platter::test
