// Real files for the tests of whole operations.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "io/ring.h"
#include "io/unique_fd.h"
#include "tests/support/temp_dir.h"

namespace platter::test {

using Bytes = std::vector<std::byte>;

/// A sparse file: `bytes` at `offset`, `size` in all.
inline void write_file(const std::string& path, std::span<const std::byte> bytes,
                       std::uint64_t size, std::uint64_t offset = 0) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  ASSERT_TRUE(fd) << path;
  ASSERT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)),
            std::ssize(bytes));
}
inline void write_file(const std::string& path, std::span<const std::byte> bytes) {
  write_file(path, bytes, bytes.size());
}

inline Bytes read_file(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(fd) << path;
  const off_t size = fd ? ::lseek(fd.get(), 0, SEEK_END) : 0;
  Bytes bytes(static_cast<std::size_t>(size));
  for (std::size_t done = 0; done < bytes.size();) {
    const std::span<std::byte> rest = std::span(bytes).subspan(done);
    const ssize_t count = ::pread(fd.get(), rest.data(), rest.size(), static_cast<off_t>(done));
    EXPECT_GT(count, 0) << path;
    if (count <= 0) break;
    done += static_cast<std::size_t>(count);
  }
  return bytes;
}

struct FileStatus {
  bool exists = false;
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::uint64_t used = 0;  ///< bytes on the disk
  mode_t mode = 0;
};
inline FileStatus status_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {.exists = true,
          .inode = status.st_ino,
          .size = static_cast<std::uint64_t>(status.st_size),
          .used = static_cast<std::uint64_t>(status.st_blocks) * 512,
          .mode = status.st_mode & 07777U};
}

/// The names in a folder, hidden ones too.
inline std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

/// A ring and an empty folder.
class FileTest : public testing::Test {
 protected:
  template <class T>
  Result<T> run(Task<T> task) {
    return ring_->run(std::move(task));
  }
  template <class T>
  void expect_ok(const Result<T>& result) {
    EXPECT_TRUE(result) << result.error().message();
  }
  template <class T>
  void expect_error(const Result<T>& result, ErrorKind kind) {
    ASSERT_FALSE(result) << "this should fail";
    EXPECT_EQ(to_string(result.error().kind()), to_string(kind)) << result.error().message();
  }

  std::unique_ptr<Ring> ring_ = Ring::create().value();
  TempDir folder_;
};

}  // namespace platter::test
